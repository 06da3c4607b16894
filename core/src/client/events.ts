/** Events of streams, as their control servers store them. */
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { toSciStreamError, type SciStreamError } from '../contracts/errors.js';
import { ROLE_CODES } from '../contracts/stream.js';
import type { FollowedEvent, StreamEvent } from '../wire/gen/scistream/v1/streams_pb.js';
import type { ControlClient } from './control-client.js';
import { isTemporary, retryPause } from './watch.js';

/** One event of one side of a stream. */
export interface StreamHistoryEvent {
  /** ISO 8601 UTC, by the clock of that side. */
  readonly at: string;
  readonly side: 'from' | 'to';
  readonly what: string;
  /** Identity of the caller; absent for an event without one. */
  readonly by?: string;
  readonly detail?: string;
  /** Grows with every event of the control server of that side; absent: an older control server. */
  readonly id?: number;
}

/** One event of any stream. */
export interface FollowedStreamEvent extends StreamHistoryEvent {
  readonly facility: string;
  readonly uid: string;
  readonly name: string;
  readonly owner: string;
}

/** Options for following events. */
export interface FollowOptions {
  readonly signal?: AbortSignal | undefined;
  /**
   * Called when a control server does not answer, once for each loss. Must not throw.
   * @param retrying False: its events are no longer followed.
   */
  readonly onLost?: ((error: SciStreamError, retrying: boolean) => void) | undefined;
}

/** Where events come from. */
export interface EventSource {
  readonly client: ControlClient;
  /** Empty: all streams of the caller. */
  readonly uid: string;
  /** Id of the last event that the caller has; undefined: only events from now on. */
  readonly after: number | undefined;
  /** End of the attempts to connect again, ms since the epoch. */
  readonly until: number;
}

/** Converts an event; its texts are already printable. */
export function historyEvent(
  { at, what, by, detail, id }: StreamEvent,
  side: StreamHistoryEvent['side'],
): StreamHistoryEvent {
  return { at, side, what, ...(by && { by }), ...(detail && { detail }), ...(id > 0n && { id: Number(id) }) };
}

/**
 * Yields the events of all sources as they arrive, each exactly once, until every source has ended. It connects again
 * after a lost connection. It reads no further than a few events ahead.
 * @throws The first error that lasts, after all other sources have ended; the reason of `signal`.
 */
export async function* followSources(
  sources: readonly EventSource[],
  { signal, onLost }: FollowOptions,
): AsyncGenerator<FollowedStreamEvent> {
  const stop = new AbortController();
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const merged = new PassThrough({ objectMode: true }).setMaxListeners(0);
  const failures: SciStreamError[] = [];
  const follow = async (source: EventSource): Promise<void> => {
    try {
      for await (const event of followSource(source, either, onLost))
        if (!merged.write(event)) await once(merged, 'drain', { signal: either });
    } catch (thrown) {
      if (either.aborted) return;
      const error = toSciStreamError(thrown);
      failures.push(error);
      onLost?.(error, false);
    }
  };
  const ended = Promise.all(sources.map(follow)).then(() => void merged.end());
  try {
    for await (const event of merged as AsyncIterable<FollowedStreamEvent>) yield event;
    signal?.throwIfAborted();
    if (failures[0]) throw failures[0];
  } finally {
    stop.abort();
    await ended;
  }
}

/** Follows one source until its stream has ended. @throws An error that lasts; the reason of `signal` */
async function* followSource(
  { client, uid, after, until }: EventSource,
  signal: AbortSignal,
  onLost: FollowOptions['onLost'],
): AsyncGenerator<FollowedStreamEvent> {
  let position = after === undefined ? undefined : BigInt(after);
  let failures = 0;
  for (;;) {
    try {
      for await (const message of client.followEvents(uid, position, signal)) {
        failures = 0;
        position = message.position;
        const event = followedEvent(message, client);
        if (event) yield event;
      }
      return;
    } catch (thrown) {
      signal.throwIfAborted();
      const error = toSciStreamError(thrown);
      // The next call has a renewed token.
      const expired = failures === 0 && position !== undefined && error.code.startsWith('SCI_TOKEN_');
      if (!(expired || isTemporary(error)) || Date.now() > until) throw error;
      failures += 1;
      if (failures === 1 && !expired) onLost?.(error, true);
    }
    await sleep(retryPause(failures), undefined, { signal });
  }
}

/** Converts a message; undefined if it has only the position. */
function followedEvent(
  { event, uid, name, owner, role }: FollowedEvent,
  { endpoint: { facility } }: ControlClient,
): FollowedStreamEvent | undefined {
  if (!event) return undefined;
  return { ...historyEvent(event, role === ROLE_CODES.inbound ? 'from' : 'to'), facility, uid, name, owner };
}
