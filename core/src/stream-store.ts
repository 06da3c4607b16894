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
  readonly listeners: readonly Address[];
  /** What HELLO announced: where the producer application listens. */
  readonly announced: readonly Address[];
  /** Targets in force, one per listener. */
  readonly targets: readonly Address[];
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

/** Keeps the records of one control server. An answer leaves only after the change it speaks of is stored. */
export interface StreamStore {
  /** @throws SCI_STREAM_EXISTS when the uid has a record that is not final (`failed`, `released`). */
  create(record: StreamRecord): Promise<void>;
  get(uid: string): Promise<StreamRecord | undefined>;
  /** Applies a change to the record of that version. @throws SCI_STREAM_CONFLICT, SCI_STREAM_NOT_FOUND */
  update(uid: string, version: number, change: Partial<StreamRecord>): Promise<StreamRecord>;
  delete(uid: string): Promise<void>;
  /** All records, oldest first. */
  list(): Promise<readonly StreamRecord[]>;
}

/** Whether nothing can happen to the stream any more. */
export const isFinal = (state: StreamState): boolean => state === 'failed' || state === 'released';
