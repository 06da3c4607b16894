import { ownerOf, type Identity } from '../contracts/authenticator.js';
import { DEMAND, explain, factsOf, firstFailure, type Action, type Demand } from './demands.js';
import { Refusal } from './refusal.js';
import type { Rule } from './schema.js';

/** Rules that an error names. */
export const SHOWN_RULES = 8;

/**
 * The rules that allow an action, its targets aside: the first one, or as many as an error counts for an action with
 * targets.
 * @param facts Facts of the action, if some differ from what the action says
 * @throws SCI_FORBIDDEN, SCI_ENCRYPTION_REQUIRED (both as {@link Refusal}) with the rule that came closest
 */
export function allowing(
  rules: readonly Rule[],
  identity: Identity,
  action: Action,
  facts = factsOf(action),
): readonly [Rule, ...Rule[]] {
  const owner = ownerOf(identity);
  const enough = 'targets' in action ? SHOWN_RULES + 1 : 1;
  const found: Rule[] = [];
  let closest: Rule | undefined;
  let furthest: Demand = DEMAND.action;
  for (const rule of rules) {
    if (!isAbout(rule, identity, owner)) continue;
    const failed = firstFailure(rule, facts);
    if (failed === DEMAND.none) {
      if (found.push(rule) === enough) break;
    } else if (!closest || failed > furthest) [closest, furthest] = [rule, failed];
  }
  const [first, ...others] = found;
  if (first) return [first, ...others];
  if (!closest) {
    throw new Refusal(`No rule applies to ${owner}.`, {
      suggestion: 'Ask the operator of this facility to add a rule for this identity to the policy.',
    });
  }
  const [what, instead] = explain(furthest, closest, facts);
  const open = furthest === DEMAND.encryption && action.kind === 'request' && facts.encryption === 'none';
  throw new Refusal(`Rule ${closest.name} does not allow ${what}.`, {
    suggestion: `It allows ${instead}.`,
    rule: closest.name,
    code: open ? 'SCI_ENCRYPTION_REQUIRED' : 'SCI_FORBIDDEN',
  });
}

/** Whether a rule applies to a caller. `issuers` also tells groups of the same name at different issuers apart. */
export function isAbout({ identities, groups, issuers }: Rule, caller: Identity, owner: string): boolean {
  if (issuers && !issuers.includes(caller.issuer)) return false;
  if (!identities && !groups) return true;
  return identities?.includes(owner) === true || groups?.some((group) => caller.groups?.includes(group)) === true;
}
