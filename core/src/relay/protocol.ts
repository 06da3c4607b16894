/**
 * The protocol between the relay worker and its parent: the start file `relay.json` and JSON lines on the unix socket
 * `control.sock`, both in the private working directory of the worker (mode 0700). {@link RelayConfig.revision}
 * describes a worker without a control socket. Each request line gets one reply line, in order. Requests do not affect
 * connections that already have a target.
 */

/** Path of the control socket in the working directory. It exists when all listeners accept connections. */
export const CONTROL_SOCKET = 'control.sock';

/** Names of the PEM files in the working directory if {@link RelayConfig.tls} is present, mode 0600. */
export const TLS_FILES = { certificate: 'tls.crt', key: 'tls.key', ca: 'ca.crt' } as const;

/** Maximum length of a request line, bytes. A longer line closes the control connection. */
export const MAX_LINE_BYTES = 1024 * 1024;

/** An IPv4 or IPv6 literal and a port, 1 to 65535. */
export interface RelayAddress {
  readonly host: string;
  readonly port: number;
}

/** An address to connect to, and the local address of connections to it. Absent: the system selects one. */
export interface RelayDestination extends RelayAddress {
  readonly localAddress?: string;
}

/** A target: its preferred address, and further ones that only TCP uses. */
export interface RelayTarget extends RelayDestination {
  /** Tried in turn. */
  readonly fallbacks?: readonly RelayDestination[];
}

/** Address of a listener. `fd` is an inherited TCP socket that already listens on `host:port`. */
export interface RelayListener extends RelayAddress {
  readonly fd?: number;
}

/**
 * The encrypted leg of TCP connections. `listeners`: the worker is the TLS server of its clients. `targets`: the worker
 * is a TLS client, and the certificate of the target must contain the DNS name `peer`.
 */
export interface RelayTls {
  readonly leg: 'listeners' | 'targets';
  readonly peer: string;
  /** Server name of a probe, which the worker answers with one byte. Only for `listeners`. */
  readonly probe?: string;
  /** Maximum time from the accept of a client to the end of its handshake, ms. */
  readonly handshakeMs: number;
}

/** Content of `relay.json`. The parent writes it (mode 0600) before it starts the worker. Fields `…Ms` are in ms. */
export interface RelayConfig {
  readonly transport: 'tcp' | 'udp';
  readonly listeners: readonly RelayListener[];
  /** `targets[i]` belongs to `listeners[i]`. Empty while no targets are set. */
  readonly targets: readonly RelayTarget[];
  /** TCP: maximum time from the accept of a client to a connection to its target. */
  readonly holdMs: number;
  /** TCP: maximum time of one attempt to connect to the target. Checked every `retryMs`. */
  readonly connectTimeoutMs: number;
  /** TCP: interval of the attempts for a held client. */
  readonly retryMs: number;
  /** UDP: idle time after which a session is closed. */
  readonly udpSessionMs: number;
  /** TCP keepalive: time without traffic before the first probe. */
  readonly keepaliveIdleMs: number;
  /** TCP keepalive: time of unanswered probes after which a connection is reset. */
  readonly keepaliveProbingMs: number;
  /** TCP: maximum number of open connections of the worker. Absent: as many as its limit of open files allows. */
  readonly maxConnections?: number;
  /** Absent: not encrypted. */
  readonly tls?: RelayTls;
  /** Networks in CIDR notation from which the listeners accept clients. Absent: all. */
  readonly sources?: readonly string[];
  /**
   * Present if the parent cannot reach a socket of the worker. The worker then has no control socket. On SIGHUP it
   * reads this file again and uses only its `targets`. It logs {@link inForce} with the revision after each reload, and
   * at the start when all listeners accept connections.
   */
  readonly revision?: string;
}

/** Log line of a worker without control socket when it uses this revision of `relay.json`. */
export const inForce = (revision: string): string => `revision ${revision} is in force`;

/** Finds the revision in the last such line of a log. */
export const revisionIn = (log: string): string | undefined =>
  [...log.matchAll(/\brevision (\S+) is in force$/gm)].at(-1)?.[1];

/** A line from the parent. `targets` is as in {@link RelayConfig.targets}. An empty list holds new clients. */
export type ControlRequest =
  { readonly cmd: 'status' } | { readonly cmd: 'targets'; readonly targets: readonly RelayTarget[] };

/** Counters of one listener since the start of the worker, including open connections. Bytes are payload. */
export interface ListenerStatus {
  /** Accepted TCP connections, with TLS those that completed the handshake. UDP: opened sessions. */
  readonly connections: number;
  /** Open connections (sessions), including held ones. */
  readonly open: number;
  /** Connections (sessions) that were connected to the target. */
  readonly established: number;
  /** Bytes received from clients. */
  readonly bytesIn: number;
  /** Bytes received from the target. */
  readonly bytesOut: number;
  /** Failed TCP connections; dropped datagrams and ICMP errors (UDP). */
  readonly errors: number;
  /** Failures by cause, as `Failures` of the contracts describes them. Each is in `errors` too, except those with `Now`. */
  readonly unreachable: number;
  readonly unreachableNow: number;
  readonly handshakeFailed: number;
  readonly resetByConsumer: number;
  readonly resetByProducer: number;
  readonly limitReached: number;
  readonly limitReachedNow: number;
  /** Connections reset (TCP) or datagrams dropped (UDP) because of {@link RelayConfig.sources}. */
  readonly refused: number;
}

/** The latest failed TLS handshake, as `TlsFailure` of the contracts. */
export interface TlsFailureStatus {
  readonly at: string;
  readonly reason: string;
}

/** Reply to `status`; `listeners[i]` belongs to `RelayConfig.listeners[i]`. */
export interface StatusReply {
  readonly ok: true;
  readonly pid: number;
  /** Maximum number of open connections of the worker, TCP only. Its limit of open files may lower the configured one. */
  readonly maxConnections?: number;
  /** Absent: none. */
  readonly tlsFailure?: TlsFailureStatus;
  readonly listeners: readonly ListenerStatus[];
}

/** Reply to `targets`. New clients use the new target, and held clients connect to it immediately. */
export interface TargetsReply {
  readonly ok: true;
}

/** Reply to an invalid request. The connection stays open, and nothing changes. */
export interface ErrorReply {
  readonly ok: false;
  readonly error: string;
}

/** A line from the worker. */
export type ControlReply = StatusReply | TargetsReply | ErrorReply;
