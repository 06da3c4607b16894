import type { Address, Transport } from './address.js';
import type { ErrorCode } from './errors.js';
import type { ListenerStatistics, Role } from './s2ds.js';

/**
 * Where a stream stands on one control server (protocol.md §3). `waiting`: listeners are reserved, HELLO has not come.
 * `provisioned`: HELLO came, no targets yet. `active`: targets are set. `failed` and `released` are final.
 */
export type StreamState =
  'reserving' | 'waiting' | 'provisioned' | 'updating' | 'active' | 'releasing' | 'failed' | 'released';

/** All that a control server knows of one side of a stream. Times are ISO 8601 UTC. */
export interface StreamRecord {
  readonly uid: string;
  /** Raised by one with every change. */
  readonly version: number;
  readonly name: string;
  readonly role: Role;
  readonly state: StreamState;
  /** Who asked for it: `issuer` and `subject` of the `Identity`, with a colon between. */
  readonly owner: string;
  readonly gateway: string;
  readonly proxy: string;
  readonly runtime: string;
  readonly transport: Transport;
  /** Of the data between the gateways. The credentials themselves are in no record. */
  readonly encryption: 'tls' | 'none';
  /** Networks from which its listeners accept connections, as the policy had it; absent: from everywhere. */
  readonly sources?: readonly string[];
  /** Whether its listeners may change, so that it may go to another gateway. */
  readonly movable?: boolean;
  /** The gateway it has left, which carries earlier connections until then at the latest. */
  readonly leaving?: { readonly gateway: string; readonly until: string } | undefined;
  readonly listeners: readonly Address[];
  /** What HELLO announced: where the producer application listens. */
  readonly announced: readonly Address[];
  /** Targets in force, one per listener. */
  readonly targets: readonly Address[];
  /** What the update that is under way asks for, state `updating`; otherwise of no meaning. */
  readonly asked?: readonly Address[];
  /** How often its proxies on this gateway ended by themselves and were started again, as far as its events tell. */
  readonly restarts?: number;
  /** Wanted rate in bit/s; 0 when none was asked for. */
  readonly bitsPerSecond: number;
  /** Whether the proxy enforces `bitsPerSecond`. */
  readonly rateEnforced: boolean;
  /** `rate` of the old message, whose unit was never settled; recorded, not enforced (protocol.md §2). */
  readonly legacyRate: number;
  readonly createdAt: string;
  readonly expiresAt: string;
  readonly error?: { readonly code: ErrorCode; readonly message: string; readonly suggestions: readonly string[] };
  /** Counters at the moment of release. */
  readonly final?: readonly ListenerStatistics[];
}

/** One thing that happened to a stream. */
export interface StreamEvent {
  /** ISO 8601 UTC. */
  readonly at: string;
  readonly what:
    'requested' | 'reserved' | 'hello' | 'targets' | 'adopted' | 'restarted' | 'moved' | 'left' | 'failed' | 'released';
  /** Whose call it was, as `StreamRecord.owner` writes it; absent when nobody asked for it. */
  readonly by?: string;
  /** In words. */
  readonly detail?: string;
}

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

/** Whether nothing can happen to the stream any more. */
export const isFinal = (state: StreamState): boolean => state === 'failed' || state === 'released';
