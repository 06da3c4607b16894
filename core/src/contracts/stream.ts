import type { Address, Target, Transport } from './address.js';
import { quote, SciStreamError, type ErrorCode, type S2DSException } from './errors.js';

/**
 * The side of a stream that a gateway carries. `inbound`: the gateway of the producer, which accepts connections from
 * the other facility. `outbound`: the gateway of the consumers, which connects to the other facility.
 */
export type Role = 'inbound' | 'outbound';

/** Names of the roles in the protocol (protocol.md §1) and in the labels of instances. */
export const ROLE_CODES = { inbound: 'PROD', outbound: 'CONS' } as const satisfies Readonly<Record<Role, string>>;

/**
 * Parses a uid: 8 to 64 characters of A-Z, a-z, 0-9 and `-` (protocol.md §2).
 * @throws SCI_UID_INVALID for any other text
 */
export function parseUid(text: string): string {
  if (/^[A-Za-z0-9-]{8,64}$/.test(text)) return text;
  throw new SciStreamError('SCI_UID_INVALID', `${quote(text)} is not a uid.`, {
    suggestions: ['Use 8 to 64 characters of A-Z, a-z, 0-9 and "-", for example a UUID.'],
  });
}

/**
 * Credentials of one side of one stream, for mutual TLS 1.3 between the two gateways. The inbound side is the TLS
 * server, on its listeners. The outbound side is the TLS client, on its connections to the targets. Both require and
 * verify a certificate that `ca` has signed. Each stream has its own CA.
 */
export interface StreamTls {
  /** Certificate of this side, PEM. */
  readonly certificate: string;
  /** Private key, PEM, PKCS #8. Secret: never part of arguments, labels, logs, errors or responses. */
  readonly key: string;
  /** Certificate of the only trusted CA, PEM. */
  readonly ca: string;
  /** DNS name in the certificate of the other side. */
  readonly peer: string;
}

/**
 * Failed connections (UDP: datagrams) of one listener by cause. Absent: the proxy does not count this cause. Only
 * `unreachable` says anything about the target.
 */
export interface Failures {
  /** Connections that did not reach the target: nothing listens there, or the route or a firewall rejects them. */
  readonly unreachable?: number;
  /** The latest connections in a row that did not reach the current target. 0 after a connection that reached it. */
  readonly unreachableNow?: number;
  /** TLS handshakes that failed: a stranger at the listener, or credentials that the other gateway rejects. */
  readonly handshakeFailed?: number;
  /** Connections that the client of the listener reset. */
  readonly resetByConsumer?: number;
  /** Connections that the target reset after they had reached it. */
  readonly resetByProducer?: number;
  /** Connections closed because of a limit of the proxy or its host: connections, open files or local ports. */
  readonly limitReached?: number;
  /** The latest connections in a row that a limit closed. 0 after a connection that reached the target. */
  readonly limitReachedNow?: number;
}

/** The keys of {@link Failures}. */
export const FAILURES = [
  'unreachable',
  'unreachableNow',
  'handshakeFailed',
  'resetByConsumer',
  'resetByProducer',
  'limitReached',
  'limitReachedNow',
] as const satisfies readonly (keyof Failures)[];

/**
 * TLS server name of a probe. A proxy on the inbound side that sees it answers without a connection to its target, after
 * it has verified the certificate of the client.
 */
export const PROBE_NAME = 'probe.scistream.invalid';

/**
 * How the proxy of an inbound side answers a probe. `data`: it sends at least one byte. `close`: it closes the connection
 * after the handshake; to a client whose certificate it rejects, it always sends an alert.
 */
export type ProbeAnswer = 'data' | 'close';

/** Parses a {@link ProbeAnswer}. Returns undefined for any other text. */
export const parseProbeAnswer = (text: string): ProbeAnswer | undefined =>
  text === 'data' || text === 'close' ? text : undefined;

/** Counters of one listener since the proxy started. Bytes are payload, without protocol overhead. */
export interface ListenerStatistics {
  /** Accepted connections (UDP: sessions). */
  readonly connections: number;
  /** Open connections (UDP: sessions). */
  readonly open: number;
  /** Bytes from the clients of the listener to the target. */
  readonly bytesIn: number;
  /** Bytes from the target to the clients. */
  readonly bytesOut: number;
  /** Failed connections of all causes. */
  readonly errors: number;
  /**
   * Connections (UDP: datagrams) rejected because of `StreamSpec.sources`; no other counter includes them. Absent: not
   * counted.
   */
  readonly refused?: number;
  /** The causes of `errors`, as far as the proxy counts them. Absent: none, also from an older gateway. */
  readonly failures?: Failures;
}

/** The limit of simultaneous connections of each process of a proxy, key `maxConnections` of its options. */
export interface ConnectionLimit {
  readonly connections: number;
  /** Whether a process has reached it: now, or within the last minute if only the log of the proxy tells. */
  readonly reached: boolean;
}

/** The latest failed TLS handshake of a stream, with the other gateway or with a stranger. */
export interface TlsFailure {
  /** ISO 8601 UTC. */
  readonly at: string;
  /** At most {@link MAX_TLS_REASON} printable characters. A stranger may choose some of them. */
  readonly reason: string;
}

/** Maximum length of {@link TlsFailure.reason}, characters. */
export const MAX_TLS_REASON = 200;

/** State and counters of a stream on its data server. */
export interface S2DSStatus {
  /** `restarting`: the proxy ended unexpectedly and is not running yet. `failed`: it was restarted too often. */
  readonly state: 'running' | 'restarting' | 'failed';
  /** Number of restarts of the proxy after it ended unexpectedly. */
  readonly restarts: number;
  /** One entry per listener, in the order of the request. Empty unless `supports.statistics` and state `running`. */
  readonly listeners: readonly ListenerStatistics[];
  /** Absent: the proxy has no limit, does not report it, or is not running. */
  readonly limit?: ConnectionLimit;
  /** Absent: none, the proxy does not report it, or it is not running. */
  readonly tlsFailure?: TlsFailure;
  /** How the listeners answer a probe. Absent: they do not. The gateway sets it. */
  readonly probe?: ProbeAnswer;
  /** The reason of state `failed`; in state `restarting` why the proxy does not run yet, if an attempt failed. */
  readonly error?: S2DSException;
}

/** One restart of a proxy that ended unexpectedly. */
export interface Restart {
  /** ISO 8601 UTC. */
  readonly at: string;
  /** How the proxy ended, and the last lines of its log. */
  readonly reason: string;
}

/** The restarts of the proxies of one stream. */
export interface Restarts {
  /** Number of all restarts. */
  readonly count: number;
  /** The most recent restarts, oldest first. */
  readonly last: readonly Restart[];
}

/**
 * State of a stream on one control server (protocol.md §3). `waiting`: listeners are reserved, and HELLO has not
 * arrived. `provisioned`: the proxy runs without targets. `active`: targets are set. `failed` and `released` are final.
 */
export type StreamState =
  'reserving' | 'waiting' | 'provisioned' | 'updating' | 'active' | 'releasing' | 'failed' | 'released';

/**
 * The accepted request for one side of a stream. The control server parses it once, and the policy completes it. The
 * records of the control server and of the gateway, and the messages between them, contain it unchanged. It is
 * immutable.
 */
export interface StreamSpec {
  /** Name that the user chose. May be empty. */
  readonly name: string;
  readonly role: Role;
  readonly transport: Transport;
  /** Number of listeners. */
  readonly connections: number;
  /** Reserved rate of the whole stream, bit/s. 0: none. */
  readonly bitsPerSecond: number;
  /** Lifetime, ms. 0 in a request: the maximum that the control server allows. */
  readonly lifetimeMs: number;
  /** Encryption between the gateways. Records do not contain the credentials. */
  readonly encryption: 'tls' | 'none';
  /** Requested gateway or label. Empty: any gateway. */
  readonly gateway: string;
  /** Requested proxy. Empty: the default of the gateway. */
  readonly proxy: string;
  /** Requested runtime. Empty: the default of the gateway. */
  readonly runtime: string;
  /** Networks from which the listeners accept connections, as the policy and the gateway granted. Absent: all. */
  readonly sources?: readonly string[];
  /** Networks from which the user expects connections. They become `sources` if the proxy can enforce them. */
  readonly peerSources?: readonly string[];
  /** True if the stream may move to another gateway, which changes its listeners. */
  readonly movable?: boolean;
}

/**
 * Returns the name of the proxy of a stream: the requested one, or the default of its gateway. The default for UDP is
 * always the relay, because Nginx sends empty datagrams to clients while the target does not listen, and other proxies
 * may not carry UDP.
 * @param configured Default of the gateway.
 */
export const proxyName = ({ proxy, transport }: Pick<StreamSpec, 'proxy' | 'transport'>, configured: string): string =>
  proxy || (transport === 'udp' ? 'relay' : configured);

/** The record of one side of a stream in the store of a control server. Times are ISO 8601 UTC. */
export interface StreamRecord {
  readonly uid: string;
  /** Incremented with every change. */
  readonly version: number;
  readonly spec: StreamSpec;
  readonly state: StreamState;
  /** The identity that requested the stream, as `ownerOf` writes it. */
  readonly owner: string;
  /** The uid that the owner requested and uses, if a stream of another owner had it here. */
  readonly requestedUid?: string;
  /** Gateway that carries the stream. */
  readonly gateway: string;
  /** Id of the proxy. In state `reserving`: the name in `spec`. */
  readonly proxy: string;
  /** Id of the runtime. In state `reserving`: the name in `spec`. */
  readonly runtime: string;
  /** What a moved stream still has on its previous gateway. */
  readonly leaving?: Leaving | undefined;
  readonly listeners: readonly Address[];
  /** Addresses of the producer, as HELLO announced them. */
  readonly announced: readonly Address[];
  /** Current targets, one per listener. */
  readonly targets: readonly Target[];
  /** Targets of the update in progress. Meaningful only in state `updating`. */
  readonly asked?: readonly Target[];
  /**
   * The newest restart that the events contain, as the gateway of the stream numbers them: the position of the reader,
   * not a second count. It survives the control server, so that no restart is recorded twice or missed. Restarts are
   * counted only in `GatewayStream.restarts`.
   */
  readonly restarts?: number;
  /** True if the proxy enforces `spec.bitsPerSecond`. */
  readonly rateEnforced: boolean;
  readonly createdAt: string;
  readonly expiresAt: string;
  /** The reason of state `failed`. */
  readonly error?: { readonly code: ErrorCode; readonly message: string; readonly suggestions: readonly string[] };
  /** Counters at the release. */
  readonly final?: readonly ListenerStatistics[];
}

/** What a moved stream still has on its previous gateway. */
export interface Leaving {
  readonly gateway: string;
  /** The latest time at which its remaining connections end, ISO 8601 UTC. */
  readonly until: string;
  /** They accept connections until then. Absent in records of earlier versions. */
  readonly listeners?: readonly Address[];
}

/** The uid that the owner of a stream uses. */
export const uidForOwner = ({ requestedUid, uid }: Pick<StreamRecord, 'requestedUid' | 'uid'>): string =>
  requestedUid ?? uid;

/** One entry in the history of a stream. */
export interface StreamEvent {
  /** ISO 8601 UTC. */
  readonly at: string;
  readonly what:
    | 'requested'
    | 'reserved'
    | 'hello'
    | 'targets'
    | 'recovered'
    | 'restarted'
    | 'moved'
    | 'left'
    | 'failed'
    | 'released';
  /** Identity of the caller, as in `StreamRecord.owner`. Absent if no call caused the event. */
  readonly by?: string;
  /** Additional text for the operator. */
  readonly detail?: string;
  /** Set by the store: greater than the ids of all earlier events of this control server, also across restarts. */
  readonly id?: number;
}

/** Returns true for the states that a stream never leaves. */
export const isFinal = (state: StreamState): boolean => state === 'failed' || state === 'released';

/** A stream and its current status. */
export interface StreamSnapshot {
  readonly record: StreamRecord;
  /** Absent if no proxy runs, or if `error` is present. */
  readonly status?: S2DSStatus;
  /** Why the status is unknown. The stream itself may work. */
  readonly error?: SciStreamError;
}

/** The result of a move for one stream of a drained gateway. */
export interface StreamMoved {
  /** The record after the move. */
  readonly record: StreamRecord;
  /** Name of the drained gateway. */
  readonly from: string;
  /** True if another gateway carries the stream now. */
  readonly moved: boolean;
  /** Why the move failed. Absent for a stream that is not movable. */
  readonly error?: SciStreamError;
}

/** The error for an unknown stream. Callers that may not see an existing stream get the same text. */
export const unknownStream = (uid: string): SciStreamError =>
  new SciStreamError('SCI_STREAM_NOT_FOUND', `You have no stream ${uid} here.`, {
    suggestions: ['List the streams of all configured facilities: scistream stream ls'],
  });
