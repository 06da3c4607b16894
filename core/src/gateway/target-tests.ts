import pLimit from 'p-limit';
import { addressesOf, formatTarget, type Address, type Target } from '../contracts/address.js';
import type { ConnectResult } from '../contracts/gateway.js';

/** Maximum number of parallel connections: a stream may have thousands of targets. */
const MOST_AT_ONCE = 16;
/** Time after which no further connection begins, ms. One connection takes up to 10 s, and a client waits for 15 s. */
const BEGIN_MS = 4_000;

/**
 * Tests each distinct target once. A target with several addresses works if one of them does. Targets whose turn comes
 * too late have no result.
 * @param test Tests one address, for at most 10 s. Never rejects.
 */
export async function testTargets(
  targets: readonly Target[],
  test: (address: Address) => Promise<ConnectResult>,
): Promise<readonly ConnectResult[]> {
  const distinct = [...new Map(targets.map((target) => [formatTarget(target), target])).values()];
  const end = performance.now() + BEGIN_MS;
  const inTime = (): boolean => performance.now() < end;
  const limit = pLimit(MOST_AT_ONCE);
  const tested = await Promise.all(distinct.map((target) => limit(() => testInTurn(target, test, inTime))));
  return tested.flatMap((result) => result ?? []);
}

/** @returns the first success, or the failure of the preferred address; undefined if no test was begun */
async function testInTurn(
  target: Target,
  test: (address: Address) => Promise<ConnectResult>,
  inTime: () => boolean,
): Promise<ConnectResult | undefined> {
  let failure: ConnectResult | undefined;
  for (const address of addressesOf(target)) {
    if (!inTime()) break;
    const result = await test(address);
    if (result.error === undefined) return result;
    failure ??= result;
  }
  return failure;
}
