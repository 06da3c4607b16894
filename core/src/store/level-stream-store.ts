import { SciStreamError } from '../contracts/errors.js';
import type { StoreOptions } from '../contracts/stream-store.js';
import type { StreamEvent, StreamRecord } from '../contracts/stream.js';
import { bounded, sizeOf, surplus } from './bounds.js';
import { ENDED_LIMITS, type EndedLimits } from './ended.js';
import { MemoryStreamStore, type NumberedEvent, type StoreChange } from './memory-stream-store.js';
import { StateDatabase, type Write } from './state-database.js';
import { EventRow, StreamRow, whole } from './stored.js';
import { survey } from './survey.js';

const STREAMS = 'streams';
const EVENTS = 'events';

/** A row of the table of streams. */
interface Stored {
  /** Place in the order of creation: times are ambiguous within a millisecond. */
  readonly order: number;
  readonly record: StreamRecord;
  /** Time of the end, ms since the epoch. Absent for a live stream, and in a row of an earlier version. */
  readonly endedAt?: number;
}

/** The key of an event. Zeros before the number make keys sort as numbers. */
const eventKey = (uid: string, number: number): string => `${uid}!${String(number).padStart(9, '0')}`;

/** Keeps records on disk. Reads come from memory, and a write returns when it is synced. */
export class LevelStreamStore extends MemoryStreamStore {
  /** Place of each record in the order of creation. */
  readonly #order = new Map<string, number>();
  #created = 0;

  #database: StateDatabase | undefined;

  /** @param state The state directory. @param limits As for the base class. */
  constructor(
    private readonly state: string,
    limits: EndedLimits = ENDED_LIMITS,
  ) {
    super(limits);
  }

  /**
   * Opens the database and loads live streams, and ended ones within the limits. Removes the others without loading them:
   * an earlier version kept much larger records.
   */
  override async open(): Promise<void> {
    const database = await StateDatabase.open(this.state);
    this.#database = database;
    const { kept, forgotten } = await survey(database.texts(STREAMS), this.limits);
    for (const uid of forgotten) await database.clear(EVENTS, `${uid}!`);
    // After the events: a stream that is still in the table is surveyed again at the next start.
    if (forgotten.length > 0) await database.write(forgotten.map((key) => ({ type: 'del', table: STREAMS, key })));
    for (const { uid, endedAt } of kept) {
      const { order, record } = whole<Stored>(StreamRow, STREAMS, uid, await database.get(STREAMS, uid));
      const events = await this.#eventsOf(uid, database);
      const bytes = sizeOf(record) + sizeOf(events);
      const ended = endedAt === undefined ? {} : { ended: { uid, owner: record.owner, bytes, at: endedAt } };
      this.#order.set(uid, order);
      this.load({ record, events, ...ended });
      this.#created = Math.max(this.#created, order);
    }
  }

  async check(): Promise<void> {
    await this.#database?.check();
  }

  override async close(): Promise<void> {
    await this.#database?.close();
    this.#database = undefined;
  }

  protected override async persist(change: StoreChange, options?: StoreOptions): Promise<void> {
    const { record, event, ended, forget, outdated } = change;
    const writes: Write[] = [];
    for (const uid of forget) {
      this.#order.delete(uid);
      writes.push({ type: 'del', table: STREAMS, key: uid });
      for (const number of this.numbersOf(uid)) writes.push({ type: 'del', table: EVENTS, key: eventKey(uid, number) });
    }
    for (const { uid, number } of outdated) writes.push({ type: 'del', table: EVENTS, key: eventKey(uid, number) });
    if (record) writes.push({ type: 'put', table: STREAMS, key: record.uid, value: this.#stored(record, ended?.at) });
    if (event) {
      const key = eventKey(event.uid, event.event.number);
      writes.push({ type: 'put', table: EVENTS, key, value: event.event });
    }
    if (!this.#database) throw new SciStreamError('SCI_BUG', 'The stream store is not open.');
    await this.#database.write(writes, options);
  }

  /** The events of a stream. Those that an earlier version stored beyond the limits are shortened or removed. */
  async #eventsOf(uid: string, database: StateDatabase): Promise<readonly NumberedEvent[]> {
    const events: NumberedEvent[] = [];
    const writes: Write[] = [];
    for await (const [key, text] of database.texts(EVENTS, `${uid}!`)) {
      const stored = whole<StreamEvent & Pick<NumberedEvent, 'number'>>(EventRow, EVENTS, key, parsed(text));
      const event: NumberedEvent = bounded({ ...stored, id: stored.id ?? earlierId(stored) });
      if (event.detail !== stored.detail) writes.push({ type: 'put', table: EVENTS, key, value: event });
      events.push(event);
    }
    const outdated = events.splice(0, surplus(events));
    for (const { number } of outdated) writes.push({ type: 'del', table: EVENTS, key: eventKey(uid, number) });
    if (writes.length > 0) await database.write(writes);
    return events;
  }

  #stored(record: StreamRecord, endedAt: number | undefined): Stored {
    // The uid of an ended stream may be used again, by a new stream.
    if (record.version === 1) this.#order.delete(record.uid);
    const order = this.#order.get(record.uid) ?? (this.#created += 1);
    this.#order.set(record.uid, order);
    return { order, record, ...(endedAt === undefined ? {} : { endedAt }) };
  }
}

/** The id of an event of an earlier version, which had none: the same at each start. */
const earlierId = ({ at, number }: Pick<NumberedEvent, 'at' | 'number'>): number =>
  (Date.parse(at) || 0) * 1000 + Math.min(number, 999);

/** The JSON value of a stored text; undefined for any other text. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
