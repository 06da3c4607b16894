import { SciStreamError } from '../contracts/errors.js';
import type { StoredEvent, StoreOptions, StreamStore } from '../contracts/stream-store.js';
import { isFinal, type StreamEvent, type StreamRecord } from '../contracts/stream.js';
import { KeyedLock } from '../contracts/wait.js';
import { bounded, sizeOf, surplus } from './bounds.js';
import { ENDED_LIMITS, toForget, type Ended, type EndedLimits } from './ended.js';

/** An event with its number within its stream, and its id. */
export interface NumberedEvent extends StreamEvent {
  readonly number: number;
  readonly id: number;
}

/** All changes of one call. They become durable together before any of them is visible. */
export interface StoreChange {
  readonly record?: StreamRecord;
  readonly event?: { readonly uid: string; readonly event: NumberedEvent };
  /** Set if `record` is final. */
  readonly ended?: Ended;
  /** Streams to forget, with their events. */
  readonly forget: readonly string[];
  /** Events to forget. */
  readonly outdated: readonly { readonly uid: string; readonly number: number }[];
}

/** What an earlier process has stored about one stream. */
export interface Loaded {
  readonly record: StreamRecord;
  readonly events: readonly NumberedEvent[];
  readonly ended?: Ended;
}

/** Keeps records in memory. Base class of stores that keep them on disk. */
export class MemoryStreamStore implements StreamStore {
  readonly #records = new Map<string, StreamRecord>();
  readonly #events = new Map<string, readonly NumberedEvent[]>();
  /** Oldest end first. */
  readonly #ended = new Map<string, Ended>();
  readonly #lock = new KeyedLock();
  readonly #listeners = new Set<() => void>();
  /** The id that was given last. Its event may not be stored yet. */
  #lastId = 0;
  #lastEventId = 0;
  /** Uids being created. The earlier records of these uids must not be removed as outdated. */
  readonly #creating = new Set<string>();

  /** @param limits Of ended streams. Read at each use, because they may change. */
  constructor(protected readonly limits: EndedLimits = ENDED_LIMITS) {}

  create(record: StreamRecord, event?: StreamEvent): Promise<void> {
    return this.#lock.run(record.uid, async () => {
      const known = this.#records.get(record.uid);
      if (known && (!isFinal(known.state) || known.owner !== record.owner)) {
        throw new SciStreamError('SCI_STREAM_EXISTS', `Stream ${record.uid} already exists.`, {
          suggestions: ['Use a new uid, or release the stream first.'],
        });
      }
      this.#creating.add(record.uid);
      const change = this.#change(record.uid, event, record);
      await this.#commit(change).finally(() => this.#creating.delete(record.uid));
    });
  }

  async get(uid: string): Promise<StreamRecord | undefined> {
    return this.#records.get(uid);
  }

  update(
    uid: string,
    version: number,
    change: Partial<StreamRecord>,
    event?: StreamEvent,
    options?: StoreOptions,
  ): Promise<StreamRecord> {
    return this.#lock.run(uid, async () => {
      const known = this.#known(uid);
      if (known.version !== version) {
        throw new SciStreamError(
          'SCI_STREAM_CONFLICT',
          `Stream ${uid} is at version ${known.version}, not ${version}.`,
        );
      }
      const record = { ...known, ...change, uid, version: version + 1 };
      await this.#commit(this.#change(uid, event, record), options);
      return record;
    });
  }

  note(uid: string, event: StreamEvent): Promise<void> {
    return this.#lock.run(uid, async () => {
      this.#known(uid);
      await this.#commit(this.#change(uid, event));
    });
  }

  async events(uid: string): Promise<readonly StreamEvent[]> {
    return (this.#events.get(uid) ?? []).map(({ number: _number, ...event }) => event);
  }

  get lastEventId(): number {
    return this.#lastEventId;
  }

  async eventsAfter(id: number, uid?: string): Promise<readonly StoredEvent[]> {
    const histories = uid === undefined ? this.#events : new Map([[uid, this.#events.get(uid) ?? []]]);
    const found: StoredEvent[] = [];
    for (const [key, events] of histories) {
      // Most streams have no new event. This reads only the last one of those.
      const first = events.findLastIndex((event) => event.id <= id) + 1;
      for (const { number: _number, ...event } of events.slice(first)) found.push({ uid: key, event });
    }
    return found.sort((a, b) => a.event.id - b.event.id);
  }

  onEvent(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  delete(uid: string): Promise<void> {
    return this.#lock.run(uid, () => this.#commit({ forget: [uid], outdated: [] }));
  }

  async list(): Promise<readonly StreamRecord[]> {
    return [...this.#records.values()];
  }

  open(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Makes a change durable. If it rejects, nothing has changed. A change that may be owed never rejects. */
  protected persist(_change: StoreChange, _options?: StoreOptions): Promise<void> {
    return Promise.resolve();
  }

  /** Adds a stream of an earlier process. Called first, in the order of creation. */
  protected load({ record, events, ended }: Loaded): void {
    this.#records.set(record.uid, record);
    this.#events.set(record.uid, events);
    for (const { id } of events) this.#lastId = this.#lastEventId = Math.max(this.#lastId, id);
    if (ended) this.#ended.set(record.uid, ended);
  }

  /** Numbers of the stored events of a stream. */
  protected numbersOf(uid: string): readonly number[] {
    return (this.#events.get(uid) ?? []).map(({ number }) => number);
  }

  #known(uid: string): StreamRecord {
    const known = this.#records.get(uid);
    if (!known) throw new SciStreamError('SCI_STREAM_NOT_FOUND', `Stream ${uid} has no record.`);
    return known;
  }

  #change(uid: string, event: StreamEvent | undefined, record?: StreamRecord): StoreChange {
    const before = this.#events.get(uid) ?? [];
    const next = event && bounded({ ...event, number: (before.at(-1)?.number ?? 0) + 1, id: this.#nextId() });
    const events = next ? [...before, next] : before;
    const outdated = events.slice(0, next ? surplus(events) : 0);
    const final = record && isFinal(record.state);
    const bytes = final ? sizeOf(record) + sizeOf(events.slice(outdated.length)) : 0;
    const ended = final ? { uid, owner: record.owner, bytes, at: Date.now() } : undefined;
    return {
      ...(record ? { record } : {}),
      ...(next ? { event: { uid, event: next } } : {}),
      ...(ended ? { ended } : {}),
      forget: record ? this.#outdated(uid, ended) : [],
      outdated: outdated.map((one) => ({ uid, number: one.number })),
    };
  }

  async #commit(change: StoreChange, options?: StoreOptions): Promise<void> {
    await this.persist(change, options);
    const { record, event, ended, forget, outdated } = change;
    for (const uid of forget) {
      this.#records.delete(uid);
      this.#events.delete(uid);
      this.#ended.delete(uid);
    }
    if (record) {
      // Again at the end, in the order of creation and of ends.
      if (this.#ended.delete(record.uid)) this.#records.delete(record.uid);
      this.#records.set(record.uid, record);
      if (ended) this.#ended.set(record.uid, ended);
    }
    if (event) {
      const kept = (this.#events.get(event.uid) ?? []).slice(outdated.length);
      this.#events.set(event.uid, [...kept, event.event]);
      this.#lastEventId = event.event.id;
      for (const listener of this.#listeners) listener();
    }
  }

  /** The time in µs, so that ids also grow after the last event was forgotten; never less than the last id. */
  #nextId(): number {
    return (this.#lastId = Math.max(this.#lastId + 1, Date.now() * 1000));
  }

  /** Ended streams to forget when `uid` is created or ends. */
  #outdated(uid: string, ended: Ended | undefined): readonly string[] {
    const others = [...this.#ended.values()].filter((one) => one.uid !== uid && !this.#creating.has(one.uid));
    return toForget(ended ? [...others, ended] : others, this.limits, Date.now()).filter((one) => one !== uid);
  }
}
