import { EventEmitter, on } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { toSciStreamError, type SciStreamError } from '../contracts/errors.js';
import { backOff } from '../contracts/wait.js';
import type { ControlClient } from './control-client.js';
import { EndNotice } from './ending.js';
import type { SideAnswer } from './side-status.js';
import { mergeStatus, type StreamStatus } from './status.js';

/** Pauses before a lost connection is opened again, ms. */
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 10_000;

/** Codes of a control server that restarts, or has not noticed that the previous connection is gone. */
const TEMPORARY = new Set([
  'SCI_S2CS_UNREACHABLE',
  'SCI_SHUTTING_DOWN',
  'SCI_DEADLINE',
  'SCI_LIMIT_REACHED',
  'SCI_RATE_LIMITED',
]);

/** Whether the control server may answer a later attempt. */
export const isTemporary = ({ code }: SciStreamError): boolean => TEMPORARY.has(code);

/** Pause before the next attempt, ms. @param failures Attempts that failed in a row. */
export const retryPause = (failures: number): number => backOff(Math.max(1, failures), FIRST_RETRY_MS, MAX_RETRY_MS);

/**
 * Yields the status of both sides now, after every change, and 10 minutes and 1 minute before the lifetime ends, until the
 * stream has ended on one side and the other has ended or does not answer. A side whose connection breaks is unreachable
 * until its control server answers again.
 * @throws The error of a side when no side answers the first time; the reason of `signal`.
 */
export async function* watchSides(
  uid: string,
  from: ControlClient | undefined,
  to: ControlClient | undefined,
  signal?: AbortSignal,
): AsyncGenerator<StreamStatus> {
  const stop = new AbortController();
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const latest: { from?: SideAnswer; to?: SideAnswer } = {};
  const changes = new EventEmitter();
  const events = on(changes, 'change', { close: ['end'] });
  const over = new AbortController();
  using notice = new EndNotice(() => changes.emit('change'));
  const follow = async (side: 'from' | 'to', client: ControlClient): Promise<void> => {
    const put = (answer: Omit<SideAnswer, 'endpoint'>): void => {
      // A retry that fails as the previous one is no change.
      if (answer.error && answer.error.code === latest[side]?.error?.code) return;
      latest[side] = { endpoint: client.endpoint, ...answer };
      changes.emit('change');
    };
    if (await followSide(client.watch.bind(client, uid), put, either, over.signal)) over.abort();
  };
  const ended = Promise.all([from && follow('from', from), to && follow('to', to)]).then(() => changes.emit('end'));
  let last: StreamStatus | undefined;
  try {
    for await (const _change of events) {
      signal?.throwIfAborted();
      if ((from && !latest.from) || (to && !latest.to)) continue;
      const error = latest.from?.error ?? latest.to?.error;
      if (error && !last && !latest.from?.stream && !latest.to?.stream) throw error;
      last = mergeStatus(uid, latest.from, latest.to, last);
      notice.set(last.expiresAt);
      yield last;
    }
    signal?.throwIfAborted();
  } finally {
    stop.abort();
    await ended;
  }
}

/**
 * Follows one side until its stream has ended there, or its control server reports an error that lasts. It connects
 * again at most until the lifetime of the stream is over.
 * @param over Ends the attempts to connect again, because the stream has ended on the other side.
 * @returns whether the stream has ended here
 */
async function followSide(
  watch: (signal: AbortSignal) => AsyncIterable<NonNullable<SideAnswer['stream']>>,
  put: (answer: { stream: NonNullable<SideAnswer['stream']> } | { error: SciStreamError }) => void,
  signal: AbortSignal,
  over: AbortSignal,
): Promise<boolean> {
  const enough = AbortSignal.any([signal, over]);
  let until = Infinity;
  for (let failures = 1; ; failures += 1) {
    try {
      for await (const stream of watch(signal)) {
        failures = 0;
        until = Date.parse(stream.expiresAt) || Infinity;
        put({ stream });
      }
      return true;
    } catch (thrown) {
      const error = toSciStreamError(thrown);
      put({ error });
      if (enough.aborted || !isTemporary(error) || Date.now() > until) return false;
    }
    await sleep(retryPause(failures), undefined, { signal: enough }).catch(() => undefined);
    if (enough.aborted) return false;
  }
}
