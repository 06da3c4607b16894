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

/**
 * Credentials of one side of one stream: mutual TLS 1.3 between the two gateways and nowhere else. On the PROD side the
 * *listeners* are TLS servers, on the CONS side the connections to the *targets* are those of a TLS client. Both demand
 * and verify a certificate that `ca` has signed, which signs for this stream alone.
 */
export interface StreamTls {
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS #8. Secret: never in arguments, labels, logs, errors or answers. */
  readonly key: string;
  /** PEM: the only authority to trust. */
  readonly ca: string;
  /** DNS name in the certificate of the other side. */
  readonly peer: string;
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
  /** Absent: not encrypted. Only where `supports.tls`. */
  readonly tls?: StreamTls;
  /**
   * Networks (`formatNetwork`) from which connections to the listeners are accepted; all others are cut at the listener,
   * before anything else. Absent: from everywhere. Never changes during a stream's life. Only where `supports.sources`.
   */
  readonly sources?: readonly string[];
  /** The machine to run on, as the runtime's `place` chose it. */
  readonly node?: string;
}

/** What a kind of data server can do; read by admission, by the contract kit and by people. */
export interface S2DSCapabilities {
  readonly tcp: boolean;
  readonly udp: boolean;
  /** Encrypts the leg to the other gateway; see {@link StreamTls}. */
  readonly tls: boolean;
  /** Carries streams that are not encrypted. Absent: it does. */
  readonly plain?: boolean;
  /** Lets connections in from the networks of `StreamRequest.sources` alone. Absent: it cannot. */
  readonly sources?: boolean;
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
  /** Connections (UDP: datagrams) cut because of `StreamRequest.sources`, which count nowhere else. Absent when there were none. */
  readonly refused?: number;
}

/** How a stream does on its data server. */
export interface S2DSStatus {
  /** `restarting`: the proxy ended by itself and is being started again. */
  readonly state: 'running' | 'restarting' | 'failed';
  /** How often the proxy ended by itself and was started again. */
  readonly restarts: number;
  /** One entry per listener, in the order of the request; empty where `supports.statistics` is false. */
  readonly listeners: readonly ListenerStatistics[];
  readonly error?: S2DSException;
}

/** A proxy that ended by itself and was started again. */
export interface Restart {
  /** ISO 8601 UTC. */
  readonly at: string;
  /** How it ended, and the last lines of its log. */
  readonly reason: string;
}

/** All restarts of a stream's proxies. */
export interface Restarts {
  readonly count: number;
  /** The last of them, oldest first. */
  readonly last: readonly Restart[];
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
   * targets stay in force when it throws. Host names are resolved here, once per call. A program that is being started again
   * gets them with its start.
   * @throws S2DSException: SCI_STREAM_NOT_FOUND, SCI_TARGETS_INVALID, SCI_TARGET_UNRESOLVED, SCI_PROXY_DIED …
   */
  updateTargets(uid: string, targets: readonly Address[], signal?: AbortSignal): Promise<void>;

  /**
   * Takes charge of a stream that an earlier object of this kind started and that still runs: its listeners, targets and
   * connections stay as they are. Of several programs those that have ended are started again, which may take a while after
   * this returns.
   * @param request As it was started; nobody holds its sockets.
   * @param targets In force.
   * @returns false, with every trace of the stream removed, when nothing of it runs as asked; then `start` makes it anew.
   */
  adopt(request: StreamRequest, targets: readonly Address[]): Promise<boolean>;

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
