import { messageOf, toSciStreamError, type SciStreamError } from '../../contracts/errors.js';
import type { Restarts } from '../../contracts/stream.js';
import type { LiveStream } from './live-stream.js';

/**
 * Watches the proxy of a stream on its present gateway: a proxy that fails permanently fails the stream, and the restarts that
 * the gateway has counted are recorded as events. Called once for each gateway that the stream comes to. Ends when the
 * stream ends or leaves that gateway.
 * @param fail Releases the stream because of an error. Never rejects.
 */
export function watchProxy(stream: LiveStream, fail: (reason: SciStreamError) => Promise<void>): void {
  const { uid } = stream.record;
  const here = stream.gateway;
  const over = (): boolean => stream.detached || here !== stream.gateway;
  here.ended(uid).then(
    (error) => error && !over() && void fail(error),
    (error: unknown) => over() || void fail(toSciStreamError(error)),
  );
  const watchRestarts = async (): Promise<void> => {
    for (let going = true; going;) {
      const restarts = await here.restarted(uid, stream.record.restarts ?? 0);
      going = restarts !== undefined && (await stream.serial(async () => !over() && (await record(restarts, stream))));
    }
  };
  watchRestarts().catch((error: unknown) => {
    // The gateway restarts proxies all the same; only their events are missing.
    if (!over()) stream.parts.log.debug({ uid, error: messageOf(error) }, 'restarts no longer recorded');
  });
}

/**
 * Records the restarts that the record does not have yet. The gateway counts them; the record keeps the number of the last one
 * recorded.
 * @returns false when the stream ends and records no more
 */
async function record({ count, last }: Restarts, stream: LiveStream): Promise<boolean> {
  const missed = last.slice(-Math.min(last.length, count - (stream.record.restarts ?? 0)));
  let accepted = true;
  for (const [i, { at, reason }] of missed.entries()) {
    const note = { at, what: 'restarted', detail: reason } as const;
    const change = { restarts: count - missed.length + i + 1 };
    accepted = await stream.apply('restarted', {}, { change, note, options: { owed: true } });
  }
  return accepted;
}
