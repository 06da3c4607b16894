import type { Address, Transport } from './address.js';
import { quote, SciStreamError } from './errors.js';
import type { ReservedListener } from './port-allocator.js';
import type { S2DSException } from './errors.js';

/** PROD: the application behind the gateway listens (inbound proxy). CONS: it connects (outbound proxy). protocol.md §1. */
export type Role = 'PROD' | 'CONS';

/** @throws SCI_ROLE_INVALID unless it is exactly PROD or CONS (protocol.md §2). */
export function parseRole(text: string): Role {
  if (text === 'PROD' || text === 'CONS') return text;
  throw new SciStreamError('SCI_ROLE_INVALID', `Role ${quote(text)} is neither PROD nor CONS.`, {
    suggestions: ['Use PROD on the side where the application listens, CONS where it connects.'],
  });
}

/** @throws SCI_UID_INVALID unless it is 8 to 64 characters of A-Z, a-z, 0-9 and `-` (protocol.md §2). */
export function parseUid(text: string): string {
  if (/^[A-Za-z0-9-]{8,64}$/.test(text)) return text;
  throw new SciStreamError('SCI_UID_INVALID', `${quote(text)} is not a uid.`, {
    suggestions: ['A uid is 8 to 64 characters of A-Z, a-z, 0-9 and "-", for example a UUID.'],
  });
}

/** What a data server is asked to set up. */
export interface StreamRequest {
  readonly uid: string;
  readonly role: Role;
  readonly transport: Transport;
  /** Where to accept connections, reserved beforehand. The data server takes over the sockets that come with them. */
  readonly listeners: readonly ReservedListener[];
  /** Wanted rate of the whole stream in bit/s; enforced only where `supports.rateLimit`. */
  readonly bitsPerSecond?: number;
}

/** What a kind of data server can do; read by admission, by the contract kit and by people. */
export interface S2DSCapabilities {
  readonly tcp: boolean;
  readonly udp: boolean;
  readonly tls: boolean;
  /** Enforces `bitsPerSecond`. */
  readonly rateLimit: boolean;
  /** New targets neither close a listener nor a connection in flight. */
  readonly liveRetarget: boolean;
  /** Counts bytes per listener. */
  readonly statistics: boolean;
}

/** Counters of one listener since the stream started. Bytes are those of the payload, not of the wire. */
export interface ListenerStatistics {
  /** Connections (UDP: sessions) accepted so far. */
  readonly connections: number;
  /** Connections open now. */
  readonly open: number;
  /** Bytes from the side that connected to the listener towards the target. */
  readonly bytesIn: number;
  /** Bytes from the target back. */
  readonly bytesOut: number;
  /** Connections that could not be carried to the target or broke. */
  readonly errors: number;
}

/** How a stream does on its data server. */
export interface S2DSStatus {
  readonly state: 'running' | 'failed';
  /** One entry per listener, in the order of the request; empty where `supports.statistics` is false. */
  readonly listeners: readonly ListenerStatistics[];
  readonly error?: S2DSException;
}

/**
 * A data server of one kind: what a gateway uses to carry a stream. Calls for one uid are serialised by the
 * implementation, calls for different uids may overlap and never affect each other.
 */
export interface S2DS {
  readonly supports: S2DSCapabilities;

  /**
   * Starts to accept connections on the given listeners; no targets yet. When it returns, the listeners accept, and
   * where the proxy can, early connections are held until a target is known. On failure nothing is left behind.
   * @throws S2DSException: SCI_STREAM_EXISTS, SCI_EXECUTABLE_NOT_FOUND, SCI_PROXY_CONFIG_INVALID, SCI_PROXY_NOT_READY …
   */
  start(request: StreamRequest, signal?: AbortSignal): Promise<void>;

  /**
   * Sets where listener i forwards to: `targets[i mod targets.length]`. May be called any number of times; the old
   * targets stay in force when it throws. Host names are resolved here, once per call.
   * @throws S2DSException: SCI_STREAM_NOT_FOUND, SCI_TARGETS_INVALID, SCI_TARGET_UNRESOLVED, SCI_PROXY_DIED …
   */
  updateTargets(uid: string, targets: readonly Address[], signal?: AbortSignal): Promise<void>;

  /** Stops the stream and removes every trace of it. Idempotent; an unknown uid is fine. */
  release(uid: string): Promise<void>;

  /** @throws S2DSException SCI_STREAM_NOT_FOUND */
  status(uid: string): Promise<S2DSStatus>;

  /**
   * Settles when the stream has ended: with the error when it failed by itself, with undefined when it was released.
   * @throws S2DSException SCI_STREAM_NOT_FOUND
   */
  ended(uid: string): Promise<S2DSException | undefined>;
}
