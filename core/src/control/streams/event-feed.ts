/** Events of streams for callers that follow them. */
import type { Identity } from '../../contracts/authenticator.js';
import type { Policy } from '../../contracts/policy.js';
import type { StoredEvent, StreamStore } from '../../contracts/stream-store.js';
import { isFinal, type StreamRecord } from '../../contracts/stream.js';
import { stopping } from './life.js';
import type { StreamLookup } from './lookup.js';

/** Longest time between two authentications of a caller while no event arrives, ms. */
const AGAIN_MS = 10_000;

/** A new event and its stream, or only the position in the events. */
export interface FeedItem {
  /** Id of the last event that the caller has. A later call continues after it. */
  readonly position: number;
  readonly record?: StreamRecord;
  readonly event?: StoredEvent['event'];
}

/** What a caller follows. */
export interface FeedRequest {
  /** Empty: all streams that the caller may see. */
  readonly uid: string;
  /** Id of the last event that the caller has. Absent: only events after the call. */
  readonly after?: number | undefined;
}

/** The parts of the controller that events come from. */
interface FeedParts {
  readonly store: StreamStore;
  readonly lookup: StreamLookup;
  readonly policy: Policy;
}

/** Yields the position, then the events, for one stream until it has ended. It holds no events for a slow caller. */
export class EventFeed {
  constructor(private readonly parts: FeedParts) {}

  /**
   * Follows the events. `again` authenticates the caller before events are sent, and at least every 10 s.
   * @throws SCI_FORBIDDEN, SCI_STREAM_NOT_FOUND; the errors of `again`; SCI_SHUTTING_DOWN if `signal` aborts
   */
  async *follow(
    { uid, after }: FeedRequest,
    identity: Identity,
    again: () => Promise<Identity>,
    signal: AbortSignal,
  ): AsyncGenerator<FeedItem> {
    const { store } = this.parts;
    const news = new News(store);
    let position = after ?? store.lastEventId;
    try {
      // Checked before the first answer.
      if (uid !== '') await this.#mustSee(uid, identity, 'view');
      yield { position };
      for (let who = identity; ; who = await again()) {
        news.reset();
        // Read before its events, so that a final record has its last event.
        const record = uid === '' ? undefined : await this.#mustSee(uid, who, 'list');
        for (const found of await store.eventsAfter(position, record?.uid)) {
          position = found.event.id;
          const stream = record ?? (await this.#visible(found, who));
          if (stream) yield { position, record: stream, event: found.event };
        }
        if (record && isFinal(record.state)) return;
        await news.wait(AGAIN_MS, signal);
        if (signal.aborted) throw stopping();
      }
    } finally {
      news.close();
    }
  }

  async #mustSee(uid: string, who: Identity, kind: 'view' | 'list'): Promise<StreamRecord> {
    const { record } = await this.parts.lookup.find(uid, who);
    await this.parts.policy.check(who, { kind, stream: record });
    return record;
  }

  /** The record of an event, if the caller may see it. */
  async #visible({ uid }: StoredEvent, who: Identity): Promise<StreamRecord | undefined> {
    const stream = await this.parts.store.get(uid);
    if (!stream) return undefined;
    return await this.parts.policy.check(who, { kind: 'list', stream }).then(
      () => stream,
      () => undefined,
    );
  }
}

/** Whether there are new events. Several events between two reads count once. */
class News {
  #fresh = false;
  #wake: () => void = () => undefined;
  readonly close: () => void;

  constructor(store: StreamStore) {
    this.close = store.onEvent(() => {
      this.#fresh = true;
      this.#wake();
    });
  }

  /** Called before a read. */
  reset(): void {
    this.#fresh = false;
  }

  /** Waits for an event since `reset`, for `ms`, or until `signal` aborts. Never rejects. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#fresh || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#wake(), ms).unref();
      this.#wake = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', this.#wake);
        resolve();
      };
      signal.addEventListener('abort', this.#wake);
    });
  }
}
