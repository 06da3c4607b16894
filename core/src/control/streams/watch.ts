import { messageOf, toSciStreamError, type SciStreamError } from '../../contracts/errors.js';
import type { Gateway } from '../../contracts/gateway.js';
import type { Logger } from '../../contracts/logger.js';
import type { StoreOptions } from '../../contracts/stream-store.js';
import { type Restarts, isFinal, type StreamEvent, type StreamRecord } from '../../contracts/stream.js';

/** What watching over the proxy of a stream needs of the machine of that stream. */
export interface Watched {
  readonly record: () => StreamRecord;
  /** Whether the stream is not on that data server any more, or not commanded by this process. */
  readonly over: () => boolean;
  readonly log: Logger;
  readonly change: (change: Partial<StreamRecord>, event: StreamEvent, options: StoreOptions) => Promise<void>;
  /** Runs `work` while nothing else changes the stream. */
  readonly serial: <T>(work: () => Promise<T>) => Promise<T>;
  /** Releases the stream because of an error. Never rejects. */
  readonly fail: (reason: SciStreamError) => Promise<void>;
}

/**
 * Notices when the proxy of a stream ends by itself: for good, which fails the stream, or until it was started again, which
 * is noted. Called once for each data server that the stream comes to; it ends with the stream there.
 */
export function watchProxy(gateway: Gateway, stream: Watched): void {
  const { uid } = stream.record();
  gateway.ended(uid).then(
    (error) => error && !stream.over() && void stream.fail(error),
    (error: unknown) => stream.over() || void stream.fail(toSciStreamError(error)),
  );
  watchRestarts(gateway, stream).catch((error: unknown) => {
    // Only the telling of restarts ends; the data server goes on with them.
    if (!stream.over()) stream.log.debug({ uid, error: messageOf(error) }, 'restarts are not watched any more');
  });
}

async function watchRestarts(gateway: Gateway, stream: Watched): Promise<void> {
  for (let going = true; going;) {
    const { uid, restarts: seen = 0 } = stream.record();
    const restarts = await gateway.restarted(uid, seen);
    going = restarts !== undefined && (await stream.serial(() => note(restarts, stream)));
  }
}

/** @returns false when the stream has ended, or is somebody else's by now */
async function note({ count, last }: Restarts, stream: Watched): Promise<boolean> {
  const { state, restarts = 0 } = stream.record();
  if (stream.over() || state === 'releasing' || isFinal(state)) return false;
  const missed = last.slice(-Math.min(last.length, count - restarts));
  for (const [i, { at, reason }] of missed.entries()) {
    const event = { at, what: 'restarted', detail: reason } as const;
    await stream.change({ restarts: count - missed.length + i + 1 }, event, { owed: true });
  }
  return true;
}
