import type { Address, Transport } from './address.js';
import type { S2DSException } from './errors.js';
import type { ReservedListener } from './port-allocator.js';
import type { Role, S2DSStatus, StreamTls } from './stream.js';

/** What a data server is asked to set up. */
export interface S2DSRequest {
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
  /** Lets connections in from the networks of `S2DSRequest.sources` alone. Absent: it cannot. */
  readonly sources?: boolean;
  /** Enforces `bitsPerSecond`. */
  readonly rateLimit: boolean;
  /** New targets neither close a listener nor a connection in flight. */
  readonly liveRetarget: boolean;
  /** Counts bytes per listener. */
  readonly statistics: boolean;
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
  start(request: S2DSRequest, signal?: AbortSignal): Promise<void>;

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
  adopt(request: S2DSRequest, targets: readonly Address[]): Promise<boolean>;

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
