import { formatAddress, type Address } from '../contracts/address.js';
import { S2DSException } from '../contracts/errors.js';
import type { ConnectResult } from '../contracts/gateway.js';
import type { ReservedListener } from '../contracts/port-allocator.js';
import { runProbe, tryConnect } from './probe.js';

const MAX_HOLD_MS = 10_000;

/** As `Gateway.runProbe`. @param targets Of the stream. @throws SCI_FORBIDDEN */
export async function probeTarget(
  uid: string,
  targets: readonly Address[],
  address: Address,
  challenge: string,
): Promise<number> {
  // A gateway that connects wherever a client says would be a port scanner.
  if (!targets.some(({ host }) => host === address.host)) {
    const where = formatAddress(address);
    throw new S2DSException('SCI_FORBIDDEN', `${where} is on no host that is a target of stream ${uid}.`);
  }
  return await runProbe(address, challenge);
}

/** As `Gateway.connectTargets`. */
export function tryTargets(targets: readonly Address[]): Promise<readonly ConnectResult[]> {
  const distinct = new Map(targets.map((target) => [formatAddress(target), target]));
  return Promise.all([...distinct.values()].map((target) => tryConnect(target, 0)));
}

/** As `Gateway.connectListener`. */
export async function tryListener(
  [first]: readonly ReservedListener[],
  holdMs: number,
  signal: AbortSignal,
): Promise<readonly ConnectResult[]> {
  return first ? [await tryConnect(first.address, Math.min(holdMs, MAX_HOLD_MS), signal)] : [];
}
