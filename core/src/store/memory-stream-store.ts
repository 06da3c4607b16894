import { SciStreamError } from '../contracts/errors.js';
import type { StoreOptions, StreamStore } from '../contracts/stream-store.js';
import { isFinal, type StreamEvent, type StreamRecord } from '../contracts/stream.js';
import { KeyedLock } from '../contracts/wait.js';

/** Records of ended streams that are kept for `status` and `ls`. The oldest are removed first. */
const MAX_ENDED = 1000;
/** Events that are kept for one stream. The oldest are removed first. */
const MAX_EVENTS = 200;

/** An event with its number within its stream. */
export interface NumberedEvent extends StreamEvent {
  readonly number: number;
}

/** All changes of one call. They become durable together before any of them is visible. */
export interface StoreChange {
  readonly record?: StreamRecord;
  readonly event?: { readonly uid: string; readonly event: NumberedEvent };
  /** Streams to forget, with their events. */
  readonly forget: readonly string[];
  /** Events to forget. */
  readonly outdated: readonly { readonly uid: string; readonly number: number }[];
}

/** Keeps records in memory. Base class of stores that keep them on disk. */
export class MemoryStreamStore implements StreamStore {
  readonly #records = new Map<string, StreamRecord>();
  readonly #events = new Map<string, readonly NumberedEvent[]>();
  readonly #lock = new KeyedLock();
  /** Uids being created. The earlier records of these uids must not be removed as outdated. */
  readonly #creating = new Set<string>();

  create(record: StreamRecord, event?: StreamEvent): Promise<void> {
    return this.#lock.run(record.uid, async () => {
      const known = this.#records.get(record.uid);
      if (known && !isFinal(known.state)) {
        throw new SciStreamError('SCI_STREAM_EXISTS', `Stream ${record.uid} already exists.`, {
          suggestions: ['Use a new uid, or release the stream first.'],
        });
      }
      const first = event && { uid: record.uid, event: { ...event, number: 1 } };
      this.#creating.add(record.uid);
      const change = { record, ...(first && { event: first }), forget: known ? [record.uid] : [], outdated: [] };
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

  /** Loads the records of an earlier process, in the order of creation. Called once, first. */
  protected load(records: Iterable<StreamRecord>, events: ReadonlyMap<string, readonly NumberedEvent[]>): void {
    for (const record of records) this.#records.set(record.uid, record);
    for (const [uid, list] of events) this.#events.set(uid, list);
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
    const number = (before.at(-1)?.number ?? 0) + 1;
    const outdated = event ? before.slice(0, Math.max(0, before.length + 1 - MAX_EVENTS)) : [];
    return {
      ...(record ? { record } : {}),
      ...(event ? { event: { uid, event: { ...event, number } } } : {}),
      forget: record && isFinal(record.state) ? this.#tooOld(uid) : [],
      outdated: outdated.map((one) => ({ uid, number: one.number })),
    };
  }

  async #commit(change: StoreChange, options?: StoreOptions): Promise<void> {
    await this.persist(change, options);
    const { record, event, forget, outdated } = change;
    for (const uid of forget) {
      this.#records.delete(uid);
      this.#events.delete(uid);
    }
    if (record) this.#records.set(record.uid, record);
    if (event) {
      const kept = (this.#events.get(event.uid) ?? []).slice(outdated.length);
      this.#events.set(event.uid, [...kept, event.event]);
    }
  }

  /** Ended streams to remove when `uid` ends too. */
  #tooOld(uid: string): string[] {
    const ended = [...this.#records.values()].filter(
      (one) => isFinal(one.state) && one.uid !== uid && !this.#creating.has(one.uid),
    );
    return ended.slice(0, Math.max(0, ended.length + 1 - MAX_ENDED)).map((one) => one.uid);
  }
}
