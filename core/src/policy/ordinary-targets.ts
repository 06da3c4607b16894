import { isIP } from 'node:net';
import { formatAddress, type Address } from '../contracts/address.js';
import type { Identity } from '../contracts/authenticator.js';
import { parseIp, specialOf } from '../contracts/network.js';
import type { NameLookups, Targeting } from './name-lookups.js';
import { Refusal } from './refusal.js';

/**
 * The targets of a call as IP literals, none of which leads back into the gateway or its surroundings: what a facility
 * gets that has no rules, which alone could name such addresses.
 * @throws SCI_FORBIDDEN, SCI_TARGET_UNRESOLVED, SCI_TARGETS_INVALID
 */
export async function ordinaryTargets(
  names: NameLookups,
  identity: Identity,
  action: Targeting,
): Promise<readonly Address[]> {
  const { targets } = action;
  for (const target of targets) if (isIP(target.host) !== 0) mustBeOrdinary(target, target.host);
  const known = await names.lookUp(identity, action);
  return targets.map((target) => {
    const addresses = known.get(target.host) ?? [target.host];
    for (const address of addresses) mustBeOrdinary(target, address);
    return { host: addresses[0] ?? target.host, port: target.port };
  });
}

/** @param address What the target means; one with a zone is of a link, and cannot be judged */
function mustBeOrdinary(target: Address, address: string): void {
  const ip = parseIp(address);
  const what = ip ? specialOf(ip)?.what : 'an address with a zone';
  if (what === undefined) return;
  const text = formatAddress(target);
  const byRule = 'for which this control server needs a rule';
  if (address === target.host) {
    throw new Refusal(`Target ${text} is ${what}, ${byRule}.`, {
      suggestion: `The operator can allow it: a rule with targets: { networks: ['${address}'] }, key policy (docs/guide/access.md).`,
    });
  }
  throw new Refusal(
    `Target ${text} has an address here that leads back into the gateway or its surroundings, ${byRule}.`,
    {
      suggestion:
        'Give the address at which other machines reach the application, or have the operator make a rule for it.',
      reason: `Target ${text}, which means ${address} here, is ${what}, ${byRule}.`,
    },
  );
}
