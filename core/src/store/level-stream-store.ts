import { SciStreamError } from '../contracts/errors.js';
import type { StoreOptions } from '../contracts/stream-store.js';
import type { StreamRecord } from '../contracts/stream.js';
import { MemoryStreamStore, type NumberedEvent, type StoreChange } from './memory-stream-store.js';
import { StateDatabase, type Write } from './state-database.js';
import { EventRow, StreamRow, whole } from './stored.js';

const STREAMS = 'streams';
const EVENTS = 'events';

/** A record and its place in the order of creation. */
interface Stored {
  readonly order: number;
  readonly record: StreamRecord;
}

/** The key of an event. Zeros before the number make keys sort as numbers. */
const eventKey = (uid: string, number: number): string => `${uid}!${String(number).padStart(9, '0')}`;

/** Keeps records on disk. Reads come from memory, and a write returns when it is synced. */
export class LevelStreamStore extends MemoryStreamStore {
  /** Place of each record in the order of creation: times are ambiguous within a millisecond. */
  readonly #order = new Map<string, number>();
  #created = 0;

  #database: StateDatabase | undefined;

  /** @param state The state directory. */
  constructor(private readonly state: string) {
    super();
  }

  override async open(): Promise<void> {
    const database = await StateDatabase.open(this.state);
    this.#database = database;
    const events = new Map<string, NumberedEvent[]>();
    for (const [key, value] of await database.entries(EVENTS)) {
      const [uid = ''] = key.split('!');
      const list = events.get(uid) ?? [];
      list.push(whole<NumberedEvent>(EventRow, EVENTS, key, value));
      events.set(uid, list);
    }
    const rows = await database.entries(STREAMS);
    const stored = rows.map(([key, value]) => whole<Stored>(StreamRow, STREAMS, key, value));
    stored.sort((a, b) => a.order - b.order);
    for (const { order, record } of stored) this.#order.set(record.uid, order);
    this.#created = stored.at(-1)?.order ?? 0;
    this.load(
      stored.map(({ record }) => record),
      events,
    );
  }

  async check(): Promise<void> {
    await this.#database?.check();
  }

  override async close(): Promise<void> {
    await this.#database?.close();
    this.#database = undefined;
  }

  protected override async persist(change: StoreChange, options?: StoreOptions): Promise<void> {
    const { record, event, forget, outdated } = change;
    const writes: Write[] = [];
    for (const uid of forget) {
      this.#order.delete(uid);
      writes.push({ type: 'del', table: STREAMS, key: uid });
      for (const number of this.numbersOf(uid)) writes.push({ type: 'del', table: EVENTS, key: eventKey(uid, number) });
    }
    for (const { uid, number } of outdated) writes.push({ type: 'del', table: EVENTS, key: eventKey(uid, number) });
    if (record) writes.push({ type: 'put', table: STREAMS, key: record.uid, value: this.#stored(record) });
    if (event) {
      const key = eventKey(event.uid, event.event.number);
      writes.push({ type: 'put', table: EVENTS, key, value: event.event });
    }
    if (!this.#database) throw new SciStreamError('SCI_BUG', 'The stream store is not open.');
    await this.#database.write(writes, options);
  }

  #stored(record: StreamRecord): Stored {
    const order = this.#order.get(record.uid) ?? (this.#created += 1);
    this.#order.set(record.uid, order);
    return { order, record };
  }
}
