/**
 * What the relay worker and its parent say to each other: the start file `relay.json` and the JSON lines on the unix
 * socket `control.sock`, both in the worker's private working directory (0700). Without a socket, see
 * {@link RelayConfig.revision}.
 * One request line gets exactly one reply line, in order. Requests never change a connection that already has its target.
 */

/** Path of the control socket relative to the worker's working directory. It appears once every listener accepts. */
export const CONTROL_SOCKET = 'control.sock';

/** Names of the PEM files in the worker's working directory where {@link RelayConfig.tls} is given; all 0600. */
export const TLS_FILES = { certificate: 'tls.crt', key: 'tls.key', ca: 'ca.crt' } as const;

/** Longest request line in bytes; a longer one closes that control connection. */
export const MAX_LINE_BYTES = 1024 * 1024;

/** An IP literal (v4 or v6, never a name) and a port, 1 to 65535. */
export interface RelayAddress {
  readonly host: string;
  readonly port: number;
}

/** Where the worker accepts. `fd`: an inherited TCP socket that is already bound and listening on `host:port`. */
export interface RelayListener extends RelayAddress {
  readonly fd?: number;
}

/**
 * TCP: which leg is encrypted. `listeners`: the worker is the TLS server of its clients; `targets`: it is a TLS client,
 * and the certificate of the target must carry the DNS name `peer`.
 */
export interface RelayTls {
  readonly leg: 'listeners' | 'targets';
  readonly peer: string;
  /** Longest time from the accept of a client to the end of its handshake, in ms. */
  readonly handshakeMs: number;
}

/** Content of `relay.json`, which the parent writes (0600) before it starts the worker. All `…Ms` are milliseconds. */
export interface RelayConfig {
  readonly transport: 'tcp' | 'udp';
  readonly listeners: readonly RelayListener[];
  /** `targets[i]` belongs to `listeners[i]`; empty while they are not known. */
  readonly targets: readonly RelayAddress[];
  /** TCP: how long a client waits for a target that is unknown or does not answer, from its accept. */
  readonly holdMs: number;
  /** TCP: how long one attempt to reach the target may take; checked every `retryMs`. */
  readonly connectTimeoutMs: number;
  /** TCP: time between two attempts for a held client. */
  readonly retryMs: number;
  /** UDP: a session without a datagram in either direction for this long is closed. */
  readonly udpSessionMs: number;
  /** Absent: not encrypted. */
  readonly tls?: RelayTls;
  /** Networks, `10.0.0.0/8` or `2001:db8::/32`: from nowhere else does a listener accept. Absent: from everywhere. */
  readonly sources?: readonly string[];
  /**
   * Given where the parent cannot reach a socket of the worker. Then there is no control socket: on SIGHUP the worker
   * reads this file again and uses its `targets` (nothing else), and says {@link inForce} of the revision it obeys, at the
   * start once every listener accepts.
   */
  readonly revision?: string;
}

/** What a worker without control socket writes to stderr when it uses this revision of `relay.json`. */
export const inForce = (revision: string): string => `revision ${revision} is in force`;

/** The revision that the last such line of a log is about. */
export const revisionIn = (log: string): string | undefined =>
  [...log.matchAll(/\brevision (\S+) is in force$/gm)].at(-1)?.[1];

/** A line the parent sends. `targets` follows the rule of {@link RelayConfig.targets}; an empty list holds new clients. */
export type ControlRequest =
  { readonly cmd: 'status' } | { readonly cmd: 'targets'; readonly targets: readonly RelayAddress[] };

/** Counters of one listener since the worker started. Payload bytes, live connections included. */
export interface ListenerStatus {
  /** TCP connections accepted, before any handshake; UDP sessions made. */
  readonly connections: number;
  /** Of those, open now (held ones too). */
  readonly open: number;
  /** Connections (sessions) whose outgoing leg came about. */
  readonly established: number;
  /** Bytes received from clients. */
  readonly bytesIn: number;
  /** Bytes received from the target. */
  readonly bytesOut: number;
  /** TCP: connections that broke, were held in vain or failed in the handshake, and failed accepts. UDP: datagrams dropped and ICMP errors. */
  readonly errors: number;
  /** TCP: connections reset, UDP: datagrams dropped because they did not come from {@link RelayConfig.sources}. */
  readonly refused: number;
}

/** Reply to `status`; `listeners[i]` belongs to `RelayConfig.listeners[i]`. */
export interface StatusReply {
  readonly ok: true;
  readonly pid: number;
  readonly listeners: readonly ListenerStatus[];
}

/** Reply to `targets`: the next client gets the new target, held clients try it at once. */
export interface TargetsReply {
  readonly ok: true;
}

/** Reply to a line that is no valid request. The connection goes on and nothing was changed. */
export interface ErrorReply {
  readonly ok: false;
  readonly error: string;
}

/** Any line the worker sends. */
export type ControlReply = StatusReply | TargetsReply | ErrorReply;
