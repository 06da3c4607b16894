import { isIP } from 'node:net';
import { formatAddress, targetOf, type Address, type Target } from '../contracts/address.js';
import type { Identity } from '../contracts/authenticator.js';
import { parseIp, specialOf, type Network } from '../contracts/network.js';
import type { NameLookups, Targeting } from './name-lookups.js';
import { Refusal } from './refusal.js';

/**
 * Checks the targets of a call at a facility without rules, and returns them as IP literals, with all addresses of a
 * name. Addresses of the gateway itself or its surroundings are rejected, because only a rule can allow them.
 * @param own Addresses of the gateway
 * @throws SCI_FORBIDDEN, SCI_TARGET_UNRESOLVED, SCI_TARGETS_INVALID
 */
export async function ordinaryTargets(
  names: NameLookups,
  identity: Identity,
  action: Targeting,
  own: readonly Network[],
): Promise<readonly Target[]> {
  const { targets, listeners = [] } = action;
  const ownFor = (target: Address): readonly Network[] => (listeners.includes(target) ? [] : own);
  for (const target of targets) if (isIP(target.host) !== 0) mustBeOrdinary(target, target.host, ownFor(target));
  const known = await names.lookUp(identity, action);
  return targets.map((target) => {
    if (isIP(target.host) !== 0) return target;
    const [first = target.host, ...others] = known.get(target.host) ?? [];
    for (const address of [first, ...others]) mustBeOrdinary(target, address, own);
    return targetOf([first, ...others], target.port);
  });
}

/** Rejects special addresses, and addresses with a zone, which only have a meaning on one link. @param address An address of the target */
function mustBeOrdinary(target: Address, address: string, own: readonly Network[]): void {
  const ip = parseIp(address);
  const what = ip ? specialOf(ip, own)?.what : 'an address with a zone';
  if (what === undefined) return;
  const text = formatAddress(target);
  const byRule = 'which needs a rule at this control server';
  if (address === target.host) {
    throw new Refusal(`Target ${text} is ${what}, ${byRule}.`, {
      suggestion: `The operator can allow it with a rule: targets: { networks: ['${address}'] }, key policy (docs/guide/access.md).`,
    });
  }
  throw new Refusal(`Target ${text} resolves here to an address of the gateway or its surroundings, ${byRule}.`, {
    suggestion: 'Use the address at which other hosts reach the application, or ask the operator for a rule.',
    reason: `Target ${text}, which resolves to ${address} here, is ${what}, ${byRule}.`,
  });
}
