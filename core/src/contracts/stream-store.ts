import type { StreamEvent, StreamRecord } from './stream.js';

/** Options of one write. */
export interface StoreOptions {
  /**
   * The change has already happened. If the write fails, the store keeps the change in memory and retries until it
   * succeeds. Only for the end of a stream, so that a full disk does not prevent a release.
   */
  readonly owed?: boolean;
}

/** An event, its stream, and its id. */
export interface StoredEvent {
  readonly uid: string;
  readonly event: StreamEvent & { readonly id: number };
}

/**
 * Stores the records and events of one control server. A change and its event are stored atomically. A method returns
 * after the change is on disk, so that a response never precedes its record. Calls may overlap.
 */
export interface StreamStore {
  /** Opens the store. Called once, first. @throws SCI_STATE_LOCKED, SCI_STATE_DAMAGED, SCI_STATE_NEWER */
  open(): Promise<void>;
  /**
   * Adds a record. Replaces a record in a final state.
   * @throws SCI_STREAM_EXISTS if the uid has another record; SCI_STATE_WRITE
   */
  create(record: StreamRecord, event?: StreamEvent): Promise<void>;
  /** Returns the record of a uid, or undefined. */
  get(uid: string): Promise<StreamRecord | undefined>;
  /**
   * Applies a change to a record and increments its version.
   * @param version Version that the caller has read.
   * @throws SCI_STREAM_CONFLICT if the record has another version, SCI_STREAM_NOT_FOUND; SCI_STATE_WRITE unless `owed`
   */
  update(
    uid: string,
    version: number,
    change: Partial<StreamRecord>,
    event?: StreamEvent,
    options?: StoreOptions,
  ): Promise<StreamRecord>;
  /** Adds an event without a change of the record. @throws SCI_STREAM_NOT_FOUND */
  note(uid: string, event: StreamEvent): Promise<void>;
  /** Returns the last 200 events of a stream, oldest first. */
  events(uid: string): Promise<readonly StreamEvent[]>;
  /** Id of the newest event; 0 if there are none. */
  readonly lastEventId: number;
  /**
   * Returns the events with an id above `id`, in the order of their ids.
   * @param uid Only those of this stream. Absent: those of all streams
   */
  eventsAfter(id: number, uid?: string): Promise<readonly StoredEvent[]>;
  /**
   * Calls `listener` after each event is stored, so that `eventsAfter` returns it. Events become visible in the order of
   * their ids. The listener must not throw.
   * @returns A function that ends the calls
   */
  onEvent(listener: () => void): () => void;
  /** Removes a record and its events. */
  delete(uid: string): Promise<void>;
  /** Returns all records, oldest first. */
  list(): Promise<readonly StreamRecord[]>;
  /** Tests that a change can be stored. @throws SCI_STATE_WRITE */
  check?(): Promise<void>;
  /** Closes the store. Called once, last. */
  close(): Promise<void>;
}
