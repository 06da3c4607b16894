import type { Address, Target } from './address.js';
import type { S2DSException, SciStreamError } from './errors.js';
import type { PortRange } from './port-allocator.js';
import type { ListenerStatistics, ProbeAnswer, Restarts, S2DSStatus, StreamSpec, StreamTls } from './stream.js';

/** Settings of a gateway, with the names of the keys in its configuration. */
export interface GatewaySettings {
  readonly name: string;
  /** Address for the listeners of the inbound side. */
  readonly wan: string;
  /** Address for the listeners of the outbound side. */
  readonly lan: string;
  /** Address of the inbound listeners for the other side, if it differs from `wan` (NAT). */
  readonly advertise?: string | undefined;
  /**
   * Networks in CIDR notation from which connections of this gateway arrive at other gateways. Inbound listeners there
   * accept only these. Default: unknown, so that they accept all.
   */
  readonly advertiseSources?: readonly string[] | undefined;
  /** Local address of connections to the other gateway. Default: `wan`, if it is an address of this machine. */
  readonly wanSource?: string | undefined;
  /** Local address of connections to the producer. Default: `lan`, if it is an address of this machine. */
  readonly lanSource?: string | undefined;
  readonly ports: PortRange;
  /** Time during which a released port is leased only if no other port is free, ms; default 600,000. */
  readonly portRest?: number | undefined;
  /** Default proxy. */
  readonly proxy: string;
  /** Default runtime. */
  readonly runtime: string;
}

/** The result of a reservation. */
export interface Reservation {
  readonly gateway: string;
  readonly proxy: string;
  readonly runtime: string;
  /** Addresses for those that connect; with `advertise`, those of an inbound side are not bound here. */
  readonly listeners: readonly Address[];
  /** True if the proxy enforces the reserved rate. */
  readonly rateEnforced: boolean;
  /** Networks from which the listeners accept connections, as `StreamSpec.sources`. Absent: all. */
  readonly sources?: readonly string[];
}

/** A port that answers one probe of the other gateway before it expires. */
export interface ProbeOffer {
  readonly address: Address;
  /** True if the port answers `probeTargets`. It then has no challenge. */
  readonly tls?: boolean;
  /** Text that the probe has to send. */
  readonly challenge: string;
  readonly expiresMs: number;
}

/** The result of one attempt to connect. */
export interface ConnectResult {
  readonly address: Address;
  /** Time to connect, ms. */
  readonly roundTripMs: number;
  /** Absent if the connection succeeded. */
  readonly error?: string;
}

/** The streams of a gateway whose release fails. */
export interface Unreleased {
  readonly streams: number;
  /** Why the release of one of them fails. */
  readonly reason: SciStreamError;
}

/** The description that a gateway gives of itself. */
export interface GatewayDescription {
  readonly name: string;
  readonly wan: string;
  readonly lan: string;
  /** As in {@link GatewaySettings}. */
  readonly advertise?: string | undefined;
  /** As in {@link GatewaySettings}. */
  readonly advertiseSources?: readonly string[] | undefined;
  /** Addresses of its machine. Absent: unknown, from an earlier version. */
  readonly addresses?: readonly string[];
  /** Range as `first-last`. */
  readonly ports: string;
  readonly proxy: string;
  readonly runtime: string;
  /** Number of ports that streams lease or failed streams keep. */
  readonly portsInUse: number;
  /** Streams whose release fails, which keep their ports. Absent: none, or unknown from an earlier version. */
  readonly unreleased?: Unreleased;
}

/**
 * One gateway, in this process or remote. Only its control server calls it. Calls for one uid take effect one after
 * another, including a call that is repeated after a lost connection while the first still runs. `release` does not
 * wait for other calls of the uid: it cancels them. All methods throw SCI_S2DS_UNREACHABLE if a remote gateway does not
 * answer.
 */
export interface Gateway {
  /** Name of the gateway. */
  readonly name: string;
  /**
   * Registers a function that is called after each loss of the connection. Only for remote gateways. Called at most
   * once.
   */
  onLost?(listener: () => void): void;
  /**
   * Recovers the streams of the previous process: adopts those that run, restarts their proxies that died, and removes
   * instances without a record. Called once, first. Succeeds if a runtime is unreachable, and retries its part later.
   */
  open(): Promise<void>;
  /** Releases all streams except these. A control server calls it when it starts, because its records may be older. */
  keep(uids: readonly string[]): Promise<void>;
  /** Returns the current description. */
  describe(): Promise<GatewayDescription>;
  /**
   * Selects the proxy and leases bound ports, without a start: a stream that waits for HELLO costs only memory and
   * sockets. A repeated call with the same request returns the same reservation.
   * @param tls Credentials if `spec.encryption` is `tls`.
   * @throws SCI_STREAM_EXISTS for another request with this uid, SCI_PROXY_UNKNOWN, SCI_RUNTIME_UNKNOWN,
   * SCI_PROXY_UNSUPPORTED, SCI_PORTS_EXHAUSTED, SCI_LISTENER_ADDRESS, SCI_STATE_WRITE
   */
  reserve(uid: string, spec: StreamSpec, tls?: StreamTls): Promise<Reservation>;
  /**
   * Starts the proxy of a reserved stream. Returns when its listeners accept connections. Idempotent.
   * @throws as `S2DS.start`
   */
  start(uid: string, signal: AbortSignal): Promise<void>;
  /** Sets the targets of a started stream. @throws as `S2DS.updateTargets` */
  updateTargets(uid: string, targets: readonly Target[], signal: AbortSignal): Promise<void>;
  /**
   * Stops the stream, frees its ports and returns its last counters. Idempotent.
   * @param keepPortsUntil ISO 8601 UTC; given for a stream that failed. No other stream gets its ports before this time.
   */
  release(uid: string, keepPortsUntil?: string): Promise<readonly ListenerStatistics[]>;
  /** Frees the ports that a failed stream keeps. Idempotent; does not affect a later stream with the same uid. */
  freePorts(uid: string): Promise<void>;
  /**
   * Returns the credentials of a stream for a move to another gateway, because the control server does not store them.
   * Undefined if the stream is not encrypted.
   * @throws SCI_STREAM_NOT_FOUND; SCI_STATE_DAMAGED if the credentials are lost
   */
  handover(uid: string): Promise<StreamTls | undefined>;
  /** Returns the state and the counters of a stream. @throws SCI_STREAM_NOT_FOUND */
  status(uid: string): Promise<S2DSStatus>;
  /** Resolves when a started stream has ended: with the error if it failed, with undefined if it was released. */
  ended(uid: string): Promise<S2DSException | undefined>;
  /**
   * Resolves when the proxies of a stream have had more than `seen` restarts, or with undefined when the stream has
   * ended. The count survives a restart of the gateway.
   */
  restarted(uid: string, seen: number): Promise<Restarts | undefined>;
  /**
   * Opens a probe port beside the listeners of the stream.
   * @param tls True for a port that completes a TLS handshake with the credentials of an encrypted stream.
   */
  openProbe(uid: string, tls?: boolean): Promise<ProbeOffer>;
  /**
   * Connects to the probe port of another gateway. Rejects a host that is not a target of the stream.
   * @returns the round trip, ms
   */
  runProbe(uid: string, address: Address, challenge: string): Promise<number>;
  /**
   * Completes a TLS handshake with the credentials of the stream, an outbound side, to each target, and waits for the
   * answer of the proxy there. A target with several addresses works if one of them does. A target that was not tested
   * in time has no result.
   * @param address Probe port of the other gateway, instead of the targets. Its host must be that of a target.
   * @throws SCI_PROXY_UNSUPPORTED for a stream without TLS, SCI_FORBIDDEN
   */
  probeTargets(uid: string, answer: ProbeAnswer, address?: Address): Promise<readonly ConnectResult[]>;
  /**
   * Connects to each target once, and to its further addresses only if the previous ones fail. A few at a time. The probes
   * of one stream run one after another.
   * @throws SCI_LIMIT_REACHED if too many wait, like the other probes
   */
  connectTargets(uid: string): Promise<readonly ConnectResult[]>;
  /** Connects to the first listener and holds the connection for `holdMs`, or until `signal` aborts. */
  connectListener(uid: string, holdMs: number, signal: AbortSignal): Promise<readonly ConnectResult[]>;
  /** Closes the gateway. Its proxies keep running. Called once, last. */
  close(): Promise<void>;
}

/** Since when and why a control server places no new streams on a gateway. */
export interface Drain {
  /** ISO 8601 UTC. Absent: unknown, because an earlier version drained the gateway. */
  readonly since?: string | undefined;
  /** Text of the admin, one line. Absent: none. */
  readonly reason?: string | undefined;
}

/** The state of a gateway in its control server. */
export interface GatewayStatus {
  /** Last known description. Only the name if the gateway has never been reachable. */
  readonly description: Partial<GatewayDescription> & Pick<GatewayDescription, 'name'>;
  /** Absent: the gateway is not drained. */
  readonly drain?: Drain | undefined;
  readonly labels: readonly string[];
  /** Number of streams. */
  readonly streams: number;
  /** Number of ports in the range. */
  readonly portsTotal: number;
  /** Configured capacity, bit/s. 0: none. */
  readonly capacity: number;
  /** Sum of the reserved rates, bit/s. */
  readonly capacityInUse: number;
  /** Why the gateway is down. Absent while it is up. */
  readonly error?: SciStreamError;
}
