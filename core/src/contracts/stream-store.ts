import type { StreamEvent, StreamRecord } from './stream.js';

/** How a change is stored. */
export interface StoreOptions {
  /**
   * The change has happened, whatever becomes of its record: where it cannot be stored now, it is stored as soon as it
   * can. Only for the end of a stream, so that a full disk does not keep what it has.
   */
  readonly owed?: boolean;
}

/**
 * Keeps the records of one control server, and of each stream what happened to it. A change and its event are stored
 * together or not at all, and an answer leaves only after the change it speaks of is stored. Calls may overlap.
 */
export interface StreamStore {
  /** Called once, first. @throws SCI_STATE_LOCKED, SCI_STATE_DAMAGED, SCI_STATE_NEWER */
  open(): Promise<void>;
  /** @throws SCI_STREAM_EXISTS when the uid has a record that is not final (`failed`, `released`). */
  create(record: StreamRecord, event?: StreamEvent): Promise<void>;
  get(uid: string): Promise<StreamRecord | undefined>;
  /**
   * Applies a change to the record of that version.
   * @throws SCI_STREAM_CONFLICT, SCI_STREAM_NOT_FOUND; SCI_STATE_WRITE unless it may be owed
   */
  update(
    uid: string,
    version: number,
    change: Partial<StreamRecord>,
    event?: StreamEvent,
    options?: StoreOptions,
  ): Promise<StreamRecord>;
  /** Adds an event to a stream whose record does not change. @throws SCI_STREAM_NOT_FOUND */
  note(uid: string, event: StreamEvent): Promise<void>;
  /** What happened to a stream, oldest first; of very many the last 200. */
  events(uid: string): Promise<readonly StreamEvent[]>;
  delete(uid: string): Promise<void>;
  /** All records, oldest first. */
  list(): Promise<readonly StreamRecord[]>;
  /** Makes sure that a change could be stored. @throws SCI_STATE_WRITE */
  check?(): Promise<void>;
  /** Called once, last. */
  close(): Promise<void>;
}
