import type { Identity } from '../contracts/authenticator.js';
import { SciStreamError } from '../contracts/errors.js';
import { formatNetwork, type Network } from '../contracts/network.js';
import type { Action, Granted, Policy } from '../contracts/policy.js';
import type { StreamRecord } from '../contracts/stream.js';
import { factsOf } from './demands.js';
import { NameLookups } from './name-lookups.js';
import { OwnerPolicy } from './owner-policy.js';
import { allowing } from './rules.js';
import { readRules, type Rule } from './schema.js';
import { TargetJudge } from './targets.js';

/** Resolves the proxy and runtime of a stream. Empty names mean the defaults of its gateway. */
export type Placing = (
  stream: Pick<StreamRecord, 'gateway' | 'proxy' | 'runtime' | 'spec'>,
) => Promise<Pick<StreamRecord, 'proxy' | 'runtime'>>;

/**
 * Applies the rules of a file, in addition to {@link OwnerPolicy}: only the owner and admins use a stream. Actions that no
 * rule allows are rejected. Admins may view and release streams without a rule, so that every stream can be ended.
 *
 * Names of targets are resolved here once, and the checked IP literals are passed on. Nothing on the way to the proxy
 * resolves a name again, which could give another address.
 */
export class RulesPolicy implements Policy {
  /** Rules decide about encryption. */
  readonly #owner = new OwnerPolicy('optional');
  #rules: readonly Rule[] | undefined;

  /** @param own Returns the addresses of the gateways, which only a rule for exactly one of them allows. */
  constructor(
    private readonly file: string,
    private readonly placing: Placing,
    private readonly names = new NameLookups(),
    private readonly own: () => readonly Network[] = () => [],
  ) {}

  async load(): Promise<void> {
    this.#rules = await readRules(this.file);
  }

  async check(identity: Identity, action: Action): Promise<Granted> {
    await this.#owner.check(identity, action);
    if (!this.#rules) throw new SciStreamError('SCI_BUG', 'The policy was used before it was loaded.');
    if (action.kind === 'drain') return {};
    if (identity.admin && (action.kind === 'view' || action.kind === 'list' || action.kind === 'release')) return {};
    const rules = this.#rules;
    if (action.kind === 'request') {
      const placed = await this.placing(action.stream).catch((error: unknown) => {
        // Callers that the rules reject anyway learn nothing about the state of the gateway.
        allowing(rules, identity, action, { ...factsOf(action), proxy: undefined, runtime: undefined });
        throw error;
      });
      const [rule] = allowing(rules, identity, { ...action, stream: { ...action.stream, ...placed } });
      const unset = action.stream.spec.lifetimeMs === 0 && rule.lifetime !== undefined;
      return {
        rule: rule.name,
        ...placed,
        ...(unset && { lifetimeMs: rule.lifetime }),
        ...(rule.sources && { sources: rule.sources.map(formatNetwork) }),
      };
    }
    if (action.kind !== 'update' && action.kind !== 'probe') return { rule: allowing(rules, identity, action)[0].name };
    const found = await new TargetJudge(rules, identity, action, this.own()).judge(this.names);
    const deciding = [...new Set(found.map(({ rule }) => rule))];
    return {
      rule: [...new Set(deciding.map(({ name }) => name))].join(','),
      targets: found.map(({ target }) => target),
      ...(action.kind === 'probe' && {
        reasons: deciding.every(({ actions }) => actions?.includes('update') !== false),
      }),
    };
  }
}
