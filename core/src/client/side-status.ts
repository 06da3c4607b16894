import { formatAddress, MAX_TARGET_ADDRESSES } from '../contracts/address.js';
import type { SciStreamError } from '../contracts/errors.js';
import { FAILURES, MAX_TLS_REASON, type ConnectionLimit, type Failures, type TlsFailure } from '../contracts/stream.js';
import type { Stream } from '../wire/gen/scistream/v1/streams_pb.js';
import type { Endpoint } from './endpoint.js';

type ErrorJson = ReturnType<SciStreamError['toJSON']>;

/**
 * States of a stream in output, worst first. The worse state of the two sides is the state of the stream. `unknown` is
 * worse than every state in which nothing is wrong, because the other side may have failed.
 */
export const STATES = [
  'failed',
  'releasing',
  'reserving',
  'waiting',
  'restarting',
  'unknown',
  'streaming',
  'idle',
  'ready',
  'released',
] as const;

/** State of a stream in output; `unknown` if a control server does not report its side now. */
export type UserState = (typeof STATES)[number];

/** One side of a stream as its control server reports it. */
export interface SideStatus {
  readonly facility: string;
  /** Address of the control server, host:port. */
  readonly s2cs: string;
  /** `unreachable`: the control server did not answer; `error` has the reason, and the other fields are empty. */
  readonly state: UserState | 'unreachable';
  readonly gateway: string;
  readonly proxy: string;
  readonly runtime: string;
  /** host:port, in order. */
  readonly listeners: readonly string[];
  /** Whether the listeners may change, so that an operator can move the stream to another gateway. */
  readonly movable: boolean;
  /** Networks from which the listeners accept connections; empty: all. */
  readonly sources: readonly string[];
  /** Previous gateway of a moved stream, while it still carries connections. */
  readonly leaving?: string;
  /** Current targets, host:port, one for each listener; empty before the first UPDATE. */
  readonly targets: readonly string[];
  /** Further addresses of each target, in the order of `targets` and in which the proxy tries them. Absent: none. */
  readonly fallbacks?: readonly (readonly string[])[];
  /** The latest failed TLS handshake of the proxy. Absent: none, or the proxy does not tell. */
  readonly tlsFailure?: TlsFailure;
  /** Whether the counters below are valid. Some proxies do not count, and none counts before it runs. */
  readonly counted: boolean;
  /** Accepted connections in total. */
  readonly connections: number;
  /** Connections that are open now. */
  readonly open: number;
  /** Failed connections of all causes. */
  readonly errors: number;
  /** The causes of `errors`. A cause that the proxy does not count is absent. */
  readonly failures: Failures;
  /** Connections closed because their source is not allowed. Absent: not counted. */
  readonly refused?: number;
  /** The limit of connections of each process of the proxy. Absent: none, or not known. */
  readonly limit?: ConnectionLimit;
  /** Restarts of the proxy after it ended unexpectedly. */
  readonly restarts: number;
  /** Bytes from the listener to the target. */
  readonly bytesIn: number;
  /** Bytes from the target to the listener. */
  readonly bytesOut: number;
  readonly error?: Pick<ErrorJson, 'message' | 'suggestions'> & { readonly code: string };
}

/** The answer of one control server, or its error. */
export interface SideAnswer {
  readonly endpoint: Endpoint;
  readonly stream?: Stream | undefined;
  readonly error?: SciStreamError | undefined;
}

/** Restarts of the proxies of these sides. */
export const restartsOf = (streams: readonly Stream[]): number =>
  streams.reduce((total, { restarts }) => total + restarts, 0);

/** One side of a stream as its control server reported it. */
export function sideStatus({ endpoint, stream, error }: SideAnswer): SideStatus {
  const sum = (key: 'connections' | 'open' | 'errors' | 'bytesIn' | 'bytesOut'): number =>
    (stream?.statistics ?? []).reduce((total, listener) => total + Number(listener[key]), 0);
  return {
    facility: stream?.facility || endpoint.facility,
    s2cs: formatAddress(endpoint.address),
    state: stream ? userState(stream.state) : stateWithout(error),
    gateway: stream?.gateway ?? '',
    proxy: stream?.proxy ?? '',
    runtime: stream?.runtime ?? '',
    listeners: stream?.listeners ?? [],
    targets: stream?.targets ?? [],
    ...furtherOf(stream),
    ...tlsFailureOf(stream),
    counted: isCounted(stream),
    ...moving(stream),
    sources: stream?.sources ?? [],
    connections: sum('connections'),
    open: sum('open'),
    errors: sum('errors'),
    failures: counts(stream, FAILURES),
    ...counts(stream, ['refused']),
    ...limitOf(stream),
    restarts: restartsOf(stream ? [stream] : []),
    bytesIn: sum('bytesIn'),
    bytesOut: sum('bytesOut'),
    ...sideError(error?.toJSON() ?? stream?.error),
  };
}

/** Sums the counters that at least one listener has. */
function counts<K extends keyof Failures | 'refused'>(stream: Stream | undefined, keys: readonly K[]) {
  const sums = keys.flatMap((key) => {
    const values = (stream?.statistics ?? []).map((listener): bigint | undefined => listener[key]);
    const known = values.filter((value) => value !== undefined);
    return known.length > 0 ? [[key, known.reduce((total, value) => total + Number(value), 0)]] : [];
  });
  return Object.fromEntries(sums) as Partial<Record<K, number>>;
}

function limitOf(stream: Stream | undefined): Pick<SideStatus, 'limit'> {
  if (!stream?.limit) return {};
  const { connections, reached } = stream.limit;
  return { limit: { connections, reached } };
}

function furtherOf({ fallbacks = [] }: Partial<Stream> = {}): Pick<SideStatus, 'fallbacks'> {
  if (!fallbacks.some(({ hosts }) => hosts.length > 0)) return {};
  return { fallbacks: fallbacks.map(({ hosts }) => hosts.slice(0, MAX_TARGET_ADDRESSES)) };
}

function tlsFailureOf({ tlsFailure }: Partial<Stream> = {}): Pick<SideStatus, 'tlsFailure'> {
  if (!tlsFailure) return {};
  const { at, reason } = tlsFailure;
  return { tlsFailure: { at, reason: reason.slice(0, MAX_TLS_REASON) } };
}

/** The targets of a side with their further addresses, each once: `10.0.0.1:5000 (or 10.0.0.2)`. */
export function targetTexts({ targets, fallbacks = [] }: Pick<SideStatus, 'targets' | 'fallbacks'>): readonly string[] {
  const texts = targets.map((target, i) => {
    const further = fallbacks[i] ?? [];
    return further.length > 0 ? `${target} (or ${further.join(', ')})` : target;
  });
  return [...new Set(texts)];
}

/** The state of a side whose control server did not report the stream. */
function stateWithout(error: SciStreamError | undefined): SideStatus['state'] {
  if (error?.code === 'SCI_STREAM_NOT_FOUND') return 'failed';
  return error?.code === 'SCI_NOT_OFFERED' ? 'unknown' : 'unreachable';
}

const isCounted = (stream: Stream | undefined): boolean => (stream?.statistics ?? []).length > 0;

function moving({ movable, leaving }: Partial<Stream> = {}): Pick<SideStatus, 'movable' | 'leaving'> {
  return { movable: movable === true, ...(leaving && { leaving }) };
}

function sideError(failure: SideStatus['error']): Pick<SideStatus, 'error'> {
  if (!failure) return {};
  const { code, message, suggestions } = failure;
  return { error: { code, message, suggestions } };
}

/** A state of a newer server is `unknown`. */
const userState = (text: string): UserState => STATES.find((state) => state === text) ?? 'unknown';
