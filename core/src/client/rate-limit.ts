import { ConnectError } from '@connectrpc/connect';
import { messageOf } from '../contracts/errors.js';
import { retry } from '../contracts/wait.js';
import { CODE_KEY, PUSHBACK_KEY } from '../wire/errors.js';

/**
 * Random share that is added to a wait, and its minimum, ms. It spreads the retries of callers that wait equally long.
 */
const JITTER = 0.25;
const JITTER_MS = 50;

/**
 * Time after which the server permits a retry of a call that failed with SCI_RATE_LIMITED, ms; undefined for other
 * errors.
 */
export function pushback(error: unknown): number | undefined {
  if (!(error instanceof ConnectError) || error.metadata.get(CODE_KEY) !== 'SCI_RATE_LIMITED') return undefined;
  const ms = Number(error.metadata.get(PUSHBACK_KEY) ?? Number.NaN);
  return ms >= 0 ? ms : undefined;
}

/**
 * Whether a server has refused to begin a call, because it closes the connection. Such a call can be sent again (RFC 9113,
 * section 8.7).
 */
const isNotBegun = (error: unknown): boolean =>
  error instanceof ConnectError && /NGHTTP2_REFUSED_STREAM/.test(messageOf(error.cause));

/**
 * Makes a call, and retries it while the server rejects it with SCI_RATE_LIMITED and a wait, or refuses to begin it. The
 * retry is safe for every call, because the server has not read the message.
 * @param send Receives the remaining time, ms.
 * @throws the error of the last call when its wait would exceed the deadline; the reason of `signal`
 */
export async function untilAdmitted<T>(
  send: (timeoutMs: number) => Promise<T>,
  deadlineMs: number,
  signal: AbortSignal | undefined,
): Promise<T> {
  const pauseMs = (error: unknown): number | undefined => {
    const asked = isNotBegun(error) ? 0 : pushback(error);
    return asked === undefined ? undefined : asked + Math.random() * Math.max(JITTER_MS, asked * JITTER);
  };
  return await retry(send, { pauseMs, timeoutMs: deadlineMs, signal });
}
