import { setTimeout as sleep } from 'node:timers/promises';
import { SciStreamError } from '../../contracts/errors.js';
import type { ConnectResult } from '../../contracts/gateway.js';

/** Longer than a run of connections, ms. */
const LONGEST_MS = 11_000;

/**
 * Returns the results of a probe as the caller may see them. Without `reasons`, a target that is closed looks like one that
 * does not answer, in the time of the answer too.
 */
export async function shownResults(
  work: Promise<readonly ConnectResult[]>,
  reasons: boolean,
  signal: AbortSignal,
): Promise<readonly ConnectResult[]> {
  if (reasons) return await work;
  const late = sleep(LONGEST_MS, undefined, { signal, ref: false }).catch(() => undefined);
  const results = await work;
  if (results.some(({ error }) => error !== undefined)) await late;
  return results.map((one) => (one.error === undefined ? one : { ...one, roundTripMs: 0, error: 'not reached' }));
}

/** The same for a round trip to a probe port. @throws SCI_VERIFY_FAILED */
export async function shownRoundTrip(work: Promise<number>, reasons: boolean, signal: AbortSignal): Promise<number> {
  if (reasons) return await work;
  const late = sleep(LONGEST_MS, undefined, { signal, ref: false }).catch(() => undefined);
  try {
    return await work;
  } catch (error) {
    if (!SciStreamError.is(error) || error.code !== 'SCI_VERIFY_FAILED') throw error;
    await late;
    throw new SciStreamError('SCI_VERIFY_FAILED', 'The probe port was not reached.', {
      suggestions: ["Open the other gateway's port range in the firewalls between the two gateways."],
    });
  }
}
