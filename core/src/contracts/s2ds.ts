import type { Target } from './address.js';
import type { S2DSException } from './errors.js';
import type { ReservedListener } from './port-allocator.js';
import type { ProbeAnswer, S2DSStatus, StreamSpec, StreamTls } from './stream.js';

/** A stream that a data server starts or adopts. */
export interface S2DSRequest {
  readonly uid: string;
  /**
   * The request, as the stores and the messages between the daemons contain it. `bitsPerSecond` is enforced only where
   * `supports.rateLimit`. `sources` is present only where `supports.sources`: connections from other networks are closed
   * before any data is read.
   */
  readonly spec: StreamSpec;
  /** Reserved listeners, `spec.connections` of them. The data server passes their sockets to the proxy, or closes them. */
  readonly listeners: readonly ReservedListener[];
  /** Credentials of this side; present where `spec.encryption` is `tls`. Only where `supports.tls`. */
  readonly tls?: StreamTls;
  /**
   * Local address of connections to targets, an IP literal. It applies to the targets for which `localAddressFor` returns
   * it. Absent: the system selects one. Only where `supports.localAddress`.
   */
  readonly localAddress?: string;
  /** Node that `place` of the runtime chose. */
  readonly node?: string;
}

/** Features of a kind of data server. The gateway checks them at admission; the contract kit tests them. */
export interface S2DSCapabilities {
  /** Carries TCP streams. */
  readonly tcp: boolean;
  /** Carries UDP streams. */
  readonly udp: boolean;
  /** Clients of a UDP stream may get empty datagrams of the proxy while the target does not listen. Absent: false. */
  readonly emptyDatagrams?: boolean;
  /** Encrypts the leg to the other gateway; see {@link StreamTls}. */
  readonly tls: boolean;
  /** Carries streams without encryption. Absent: true. */
  readonly plain?: boolean;
  /** Enforces `spec.sources`. Absent: false. */
  readonly sources?: boolean;
  /** Connects from `S2DSRequest.localAddress`. Absent: false. */
  readonly localAddress?: boolean;
  /** How inbound listeners with TLS answer the server name {@link PROBE_NAME}. Absent: as any other connection. */
  readonly probe?: ProbeAnswer;
  /** Enforces `bitsPerSecond`. */
  readonly rateLimit: boolean;
  /** A change of targets closes neither a listener nor an open connection. */
  readonly liveRetarget: boolean;
  /** Counts bytes per listener. */
  readonly statistics: boolean;
}

/**
 * A data server of one kind: carries streams with one proxy in one runtime. Only the gateway calls it. The
 * implementation serializes calls for one uid. Calls for different uids run concurrently and are independent.
 *
 * Each call has a deadline. At the deadline `signal` aborts, the gateway no longer waits, and the call fails with
 * SCI_PLUGIN_FAILED. So does a call that throws anything but a SciStreamError.
 */
export interface S2DS {
  readonly supports: S2DSCapabilities;

  /**
   * Starts the proxy of a stream, without targets. Returns when the listeners accept connections. A proxy that supports
   * it holds early connections until a target is set. On failure, no instance, file or socket remains.
   * @throws S2DSException with SCI_STREAM_EXISTS, SCI_PROXY_UNSUPPORTED, SCI_EXECUTABLE_NOT_FOUND, SCI_IMAGE_NOT_FOUND,
   * SCI_PROXY_CONFIG_INVALID, SCI_PROXY_NOT_READY, SCI_PORT_TAKEN or a code of the runtime; the reason of `signal`
   */
  start(request: S2DSRequest, signal?: AbortSignal): Promise<void>;

  /**
   * Sets the targets: listener i forwards to `targets[i mod targets.length]`. May be called repeatedly. If it throws,
   * the previous targets remain in effect. Each call resolves host names once. A new TCP connection goes to the first
   * address of its target that accepts it; UDP uses only the first address. An instance that is restarting gets the new
   * targets when it starts.
   * @throws S2DSException with SCI_STREAM_NOT_FOUND, SCI_TARGETS_INVALID, SCI_TARGET_UNRESOLVED, SCI_ADDRESS_INVALID,
   * SCI_PROXY_CONFIG_INVALID, SCI_PROXY_COMMAND_FAILED, SCI_PROXY_DIED or a code of the runtime; the reason of `signal`
   */
  updateTargets(uid: string, targets: readonly Target[], signal?: AbortSignal): Promise<void>;

  /**
   * Adopts a running stream that a previous process of this data server started. Its listeners, targets and connections
   * stay unchanged. If only some of its instances run, the others are restarted in the background.
   * @param request The request that started the stream. This process does not hold its sockets.
   * @param targets The current targets.
   * @returns false if no instance matches the request; every trace of the stream is then removed, and `start` recreates
   * it
   */
  adopt(request: S2DSRequest, targets: readonly Target[], signal?: AbortSignal): Promise<boolean>;

  /**
   * Ends a stream: when it returns, nothing of the stream forwards data, and no instance, file or rule remains.
   * Idempotent. The uid may be unknown to this process: an earlier process started the stream, or died while it released
   * it. The gateway gives the ports and the uid to another stream only after this call has returned. If it throws, the
   * stream stays in state `releasing`, and the gateway calls again, also in its next process.
   * @param request What the record of the stream contains. The credentials may be missing. Absent: no record is left.
   * @throws S2DSException with the reason why something may still forward
   */
  release(uid: string, request?: S2DSRequest, signal?: AbortSignal): Promise<void>;

  /**
   * Removes everything that an earlier process left behind for streams without a record, for example after the loss of
   * the state directory. Called once, before any other method. Only for data servers that keep more than instances of
   * their runtime, such as rules of the kernel.
   * @param known Uids of all streams of this proxy with a record, in every state. Nothing of theirs may change.
   * @throws S2DSException; no stream gets this proxy until a later call succeeds
   */
  sweep?(known: ReadonlySet<string>, signal?: AbortSignal): Promise<void>;

  /** Returns the state and the counters of a stream. @throws S2DSException with SCI_STREAM_NOT_FOUND */
  status(uid: string, signal?: AbortSignal): Promise<S2DSStatus>;

  /**
   * Resolves when the stream has ended: with the error if it failed, with undefined if it was released.
   * @throws S2DSException with SCI_STREAM_NOT_FOUND
   */
  ended(uid: string): Promise<S2DSException | undefined>;
}
