import { setTimeout as sleep } from 'node:timers/promises';
import { ConnectError } from '@connectrpc/connect';
import { CODE_KEY, PUSHBACK_KEY } from '../wire/errors.js';

/** Share of a wait that chance adds to it, and the least that is, ms: callers who wait alike must not all come back at once. */
const JITTER = 0.25;
const JITTER_MS = 50;

/** How long a server that refused a call with SCI_RATE_LIMITED asks to wait, ms; undefined for any other error. */
export function pushback(error: unknown): number | undefined {
  if (!(error instanceof ConnectError) || error.metadata.get(CODE_KEY) !== 'SCI_RATE_LIMITED') return undefined;
  const ms = Number(error.metadata.get(PUSHBACK_KEY) ?? Number.NaN);
  return ms >= 0 ? ms : undefined;
}

/**
 * Makes a call, again for as long as the server says that it counts too many and when to come back. Any call may be
 * repeated after that: it was refused before anything of its message was read.
 * @param send Gets the time that is left, ms.
 * @throws what the last call threw, as soon as its wait would last beyond the deadline; the reason of `signal`
 */
export async function untilAdmitted<T>(
  send: (timeoutMs: number) => Promise<T>,
  deadlineMs: number,
  signal: AbortSignal | undefined,
): Promise<T> {
  const deadline = performance.now() + deadlineMs;
  for (let left = deadlineMs; ;) {
    try {
      return await send(left);
    } catch (error) {
      const asked = pushback(error);
      if (asked === undefined) throw error;
      const wait = asked + Math.random() * Math.max(JITTER_MS, asked * JITTER);
      left = deadline - performance.now() - wait;
      if (left <= 0) throw error;
      await sleep(wait, undefined, { signal });
    }
  }
}
