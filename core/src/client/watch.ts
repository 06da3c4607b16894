import { EventEmitter, on } from 'node:events';
import { toSciStreamError } from '../contracts/errors.js';
import type { ControlClient } from './control-client.js';
import { mergeStatus, type SideAnswer, type StreamStatus } from './status.js';

/**
 * Yields the status of both sides now and after every change, until the stream has ended on all of them. A side whose
 * connection breaks is unreachable from then on.
 * @throws The error of a side when no side answers; the reason of `signal`.
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
  const follow = async (side: 'from' | 'to', client: ControlClient): Promise<void> => {
    const put = (answer: Omit<SideAnswer, 'endpoint'>): void => {
      latest[side] = { endpoint: client.endpoint, ...answer };
      changes.emit('change');
    };
    try {
      for await (const stream of client.watch(uid, either)) put({ stream });
    } catch (error) {
      put({ error: toSciStreamError(error) });
    }
  };
  const ended = Promise.all([from && follow('from', from), to && follow('to', to)]).then(() => changes.emit('end'));
  try {
    for await (const _change of events) {
      signal?.throwIfAborted();
      if ((from && !latest.from) || (to && !latest.to)) continue;
      const error = latest.from?.error ?? latest.to?.error;
      if (error && !latest.from?.stream && !latest.to?.stream) throw error;
      yield mergeStatus(uid, latest.from, latest.to);
    }
    signal?.throwIfAborted();
  } finally {
    stop.abort();
    await ended;
  }
}
