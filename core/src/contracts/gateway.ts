import type { Address } from './address.js';
import type { S2DSException, SciStreamError } from './errors.js';
import type { PortRange } from './port-allocator.js';
import type { ListenerStatistics, Restarts, S2DSStatus, StreamSpec, StreamTls } from './stream.js';

/** The keys of the same names in the configuration of a gateway. */
export interface GatewaySettings {
  readonly name: string;
  readonly wan: string;
  readonly lan: string;
  readonly ports: PortRange;
  /** Defaults for streams that name none. */
  readonly proxy: string;
  readonly runtime: string;
}

/** What the gateway has set aside. */
export interface Reservation {
  readonly gateway: string;
  readonly proxy: string;
  readonly runtime: string;
  readonly listeners: readonly Address[];
  readonly rateEnforced: boolean;
}

/** A port that answers one probe of the other gateway. */
export interface ProbeOffer {
  readonly address: Address;
  readonly challenge: string;
  readonly expiresMs: number;
}

/** How a TCP connection went. */
export interface ConnectResult {
  readonly address: Address;
  readonly roundTripMs: number;
  /** Absent when it was connected. */
  readonly error?: string;
}

/** A gateway as it presents itself. */
export interface GatewayDescription {
  readonly name: string;
  readonly wan: string;
  readonly lan: string;
  /** first-last */
  readonly ports: string;
  readonly proxy: string;
  readonly runtime: string;
  readonly portsInUse: number;
}

/**
 * One gateway as its control server commands it. Calls for one uid take effect one after another, also when one is repeated
 * while the first still runs, because its caller lost the connection. `release` waits for no other: it ends them.
 */
export interface Gateway {
  /** Name of the gateway. */
  readonly name: string;
  /**
   * Only where the gateway may be away, for it is a daemon of its own: calls `listener` whenever a connection to it broke.
   * Called at most once.
   */
  onLost?(listener: () => void): void;
  /**
   * Gets ready: takes charge of the streams of an earlier process that still run, repairs those that do not, and removes
   * what nobody knows. Called once, first. A runtime that does not answer does not keep it from that.
   */
  open(): Promise<void>;
  /** Releases every stream but these: what a control server says when it starts, for it may have lost some. */
  keep(uids: readonly string[]): Promise<void>;
  describe(): Promise<GatewayDescription>;
  /**
   * Resolves the proxy and leases ports, all of them bound, without starting anything: a stream that waits for HELLO costs only
   * memory and sockets. The same request again gets the same reservation, because its answer may have been lost.
   * @param tls Credentials, where `spec.encryption` is `tls`.
   * @throws SCI_STREAM_EXISTS for a different request with this uid, SCI_PROXY_UNKNOWN, SCI_RUNTIME_UNKNOWN,
   * SCI_PROXY_UNSUPPORTED, SCI_PORTS_EXHAUSTED …
   */
  reserve(uid: string, spec: StreamSpec, tls?: StreamTls): Promise<Reservation>;
  /** Starts the proxy of a reserved stream; its listeners accept when this returns. Idempotent. */
  start(uid: string, signal: AbortSignal): Promise<void>;
  updateTargets(uid: string, targets: readonly Address[], signal: AbortSignal): Promise<void>;
  /** Ends the stream, gives everything back, and tells the last counters. Idempotent. */
  release(uid: string): Promise<readonly ListenerStatistics[]>;
  /**
   * The credentials of a stream, which the control server does not keep, so that another gateway can carry the stream.
   * @throws SCI_STREAM_NOT_FOUND; SCI_STATE_DAMAGED when they are lost
   */
  handover(uid: string): Promise<StreamTls | undefined>;
  status(uid: string): Promise<S2DSStatus>;
  /** Settles when a started stream ends: with the error when it failed by itself. */
  ended(uid: string): Promise<S2DSException | undefined>;
  /**
   * Settles when the proxies of a stream were started again more than `seen` times in all, or with undefined when the
   * stream has ended. The count survives the process.
   */
  restarted(uid: string, seen: number): Promise<Restarts | undefined>;
  /** Opens a probe port beside the listeners of the stream. */
  openProbe(uid: string): Promise<ProbeOffer>;
  /** Connects to the probe port of another gateway; only to a host that is a target of the stream. @returns ms */
  runProbe(uid: string, address: Address, challenge: string): Promise<number>;
  /** Connects to each target once. */
  connectTargets(uid: string): Promise<readonly ConnectResult[]>;
  /** Connects to the first listener and holds the connection for `holdMs`, or until `signal` aborts. */
  connectListener(uid: string, holdMs: number, signal: AbortSignal): Promise<readonly ConnectResult[]>;
  /** Lets go of the gateway; its streams run on. Called once, last. */
  close(): Promise<void>;
}

/** A gateway as its control server sees it. */
export interface GatewayStatus {
  /** What it told last; only the name when it was never up. */
  readonly description: Partial<GatewayDescription> & Pick<GatewayDescription, 'name'>;
  readonly drained: boolean;
  readonly labels: readonly string[];
  readonly streams: number;
  readonly portsTotal: number;
  /** bit/s; 0 when the configuration names none. */
  readonly capacity: number;
  /** bit/s that its streams asked for. */
  readonly capacityInUse: number;
  /** Why it is down; absent while it is up. */
  readonly error?: SciStreamError;
}
