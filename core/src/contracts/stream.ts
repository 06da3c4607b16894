import type { Address, Transport } from './address.js';
import { quote, SciStreamError, type ErrorCode, type S2DSException } from './errors.js';

/**
 * The side of a stream that a gateway carries. `inbound`: the gateway of the producer, where connections from the other
 * facility come in. `outbound`: the gateway of the consumer, from where connections leave to the other facility.
 */
export type Role = 'inbound' | 'outbound';

/** What the protocol and the labels of instances call the roles (protocol.md §1). */
export const ROLE_CODES = { inbound: 'PROD', outbound: 'CONS' } as const satisfies Readonly<Record<Role, string>>;

/** @throws SCI_UID_INVALID unless it is 8 to 64 characters of A-Z, a-z, 0-9 and `-` (protocol.md §2). */
export function parseUid(text: string): string {
  if (/^[A-Za-z0-9-]{8,64}$/.test(text)) return text;
  throw new SciStreamError('SCI_UID_INVALID', `${quote(text)} is not a uid.`, {
    suggestions: ['Use 8 to 64 characters of A-Z, a-z, 0-9 and "-", for example a UUID.'],
  });
}

/**
 * Credentials of one side of one stream: mutual TLS 1.3 between the two gateways and nowhere else. On the inbound side
 * the *listeners* are TLS servers, on the outbound side the connections to the *targets* are those of a TLS client. Both demand
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
  /** Connections (UDP: datagrams) cut because of `S2DSRequest.sources`, which count nowhere else. Absent when there were none. */
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
 * Where a stream stands on one control server (protocol.md §3). `waiting`: listeners are reserved, HELLO has not come.
 * `provisioned`: HELLO came, no targets yet. `active`: targets are set. `failed` and `released` are final.
 */
export type StreamState =
  'reserving' | 'waiting' | 'provisioned' | 'updating' | 'active' | 'releasing' | 'failed' | 'released';

/**
 * One side of a stream as the control server accepted it: parsed once at the door, completed by the policy, and the same in the
 * records of the control server, on the way to the gateway, and in the records of the gateway. It never changes.
 */
export interface StreamSpec {
  /** Chosen by the user; may be empty. */
  readonly name: string;
  readonly role: Role;
  readonly transport: Transport;
  /** Number of listeners. */
  readonly connections: number;
  /** Requested rate of the whole stream in bit/s; 0: none. */
  readonly bitsPerSecond: number;
  /** ms; 0 in a request: the longest that the control server allows. */
  readonly lifetimeMs: number;
  /** Of the data between the gateways. The credentials are in no record. */
  readonly encryption: 'tls' | 'none';
  /** Requested placement: name or label of a gateway; empty: any. */
  readonly gateway: string;
  /** Empty: the default of the gateway. */
  readonly proxy: string;
  /** Empty: the default of the gateway. */
  readonly runtime: string;
  /** Networks from which the listeners accept connections, as the policy granted; absent: from everywhere. */
  readonly sources?: readonly string[];
  /** Whether the stream may move to another gateway, which changes its listeners. */
  readonly movable?: boolean;
}

/** What a control server knows about one side of a stream. Times are ISO 8601 UTC. */
export interface StreamRecord {
  readonly uid: string;
  /** Incremented with every change. */
  readonly version: number;
  readonly spec: StreamSpec;
  readonly state: StreamState;
  /** The identity that requested the stream, as `ownerOf` writes it. */
  readonly owner: string;
  /** The gateway that carries the stream. */
  readonly gateway: string;
  /** Id of the proxy; until the gateway has reserved listeners, the name in `spec`. Likewise `runtime`. */
  readonly proxy: string;
  readonly runtime: string;
  /** The gateway that the stream left, and when its remaining connections end at the latest. */
  readonly leaving?: { readonly gateway: string; readonly until: string } | undefined;
  readonly listeners: readonly Address[];
  /** The addresses that HELLO announced: where the producer application listens. */
  readonly announced: readonly Address[];
  /** Targets in force, one per listener. */
  readonly targets: readonly Address[];
  /** Targets of the update in progress (state `updating`); meaningless in other states. */
  readonly asked?: readonly Address[];
  /** How often proxies on this gateway were restarted, as far as the events say. */
  readonly restarts?: number;
  /** Whether the proxy enforces `spec.bitsPerSecond`. */
  readonly rateEnforced: boolean;
  readonly createdAt: string;
  readonly expiresAt: string;
  readonly error?: { readonly code: ErrorCode; readonly message: string; readonly suggestions: readonly string[] };
  /** Counters at the time of release. */
  readonly final?: readonly ListenerStatistics[];
}

/** One thing that happened to a stream. */
export interface StreamEvent {
  /** ISO 8601 UTC. */
  readonly at: string;
  readonly what:
    'requested' | 'reserved' | 'hello' | 'targets' | 'adopted' | 'restarted' | 'moved' | 'left' | 'failed' | 'released';
  /** Whose call it was, as `StreamRecord.owner` writes it; absent when nobody asked for it. */
  readonly by?: string;
  /** In words. */
  readonly detail?: string;
}

/** Whether nothing can happen to the stream any more. */
export const isFinal = (state: StreamState): boolean => state === 'failed' || state === 'released';

/** A stream and how it does just now. */
export interface StreamSnapshot {
  readonly record: StreamRecord;
  /** Absent while no proxy runs. */
  readonly status?: S2DSStatus;
  /** Why the data server could not tell the status. The stream may be well. */
  readonly error?: SciStreamError;
}

/** What became of a stream of a gateway that should be left. */
export interface StreamMoved {
  /** As it is now. */
  readonly record: StreamRecord;
  readonly from: string;
  /** Whether it is somewhere else now. */
  readonly moved: boolean;
  /** Why it could not be moved; a stream that is not movable stays without one. */
  readonly error?: SciStreamError;
}

/** The error for a stream that does not exist. Callers that may not see an existing stream get the same words. */
export const unknownStream = (uid: string): SciStreamError =>
  new SciStreamError('SCI_STREAM_NOT_FOUND', `You have no stream ${uid} here.`, {
    suggestions: ['List the streams of all configured facilities: scistream stream ls'],
  });
