import { formatAddress } from '../contracts/address.js';
import type { SciStreamError } from '../contracts/errors.js';
import { printable, printableLine } from '../wire/errors.js';
import type { Stream } from '../wire/gen/scistream/v1/streams_pb.js';
import type { Endpoint } from './endpoint.js';

type ErrorJson = ReturnType<SciStreamError['toJSON']>;

/** States of a stream that a user sees, worst first; of two sides the worse one counts. */
const STATES = ['failed', 'releasing', 'reserving', 'waiting', 'streaming', 'idle', 'ready', 'released'] as const;

/** One of the states that a user sees. */
export type UserState = (typeof STATES)[number];

/** One side of a stream as its control server tells it. */
export interface SideStatus {
  readonly facility: string;
  /** The control server, host:port. */
  readonly s2cs: string;
  /** `unreachable`: the control server could not be asked; `error` tells why and the rest is empty. */
  readonly state: UserState | 'unreachable';
  readonly gateway: string;
  readonly proxy: string;
  readonly runtime: string;
  /** host:port, in order. */
  readonly listeners: readonly string[];
  /** Whether the listeners may change: an operator may move it to another gateway. */
  readonly movable: boolean;
  /** Gateway that it has left and that still carries earlier connections. */
  readonly leaving?: string;
  /** host:port in force, one per listener; empty before they are set. */
  readonly targets: readonly string[];
  /** Whether anything counts what follows: some proxies do not, and none does before it runs. */
  readonly counted: boolean;
  /** Connections accepted so far, open now, and broken or not carried; bytes from the listener to the target and back. */
  readonly connections: number;
  readonly open: number;
  readonly errors: number;
  /** Connections cut because they came from addresses that may not connect, where the proxy counts them. */
  readonly refused: number;
  /** How often the proxy ended by itself and was started again. */
  readonly restarts: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly error?: Pick<ErrorJson, 'message' | 'suggestions'> & { readonly code: string };
}

/** What passes one gateway: `bytesToProducer` came from the consumer's side. Rates are means over `sampleMs`. */
export interface HopTraffic {
  readonly gateway: string;
  /** Whether the numbers mean anything: as in {@link SideStatus}. */
  readonly counted: boolean;
  readonly connections: number;
  readonly open: number;
  readonly bytesToProducer: number;
  readonly bytesToConsumer: number;
  readonly bitsPerSecondToProducer?: number;
  readonly bitsPerSecondToConsumer?: number;
}

/** Both sides of a stream in one. A side that is not this user's is absent. */
export interface StreamStatus {
  readonly uid: string;
  readonly name: string;
  readonly state: UserState;
  /** The inbound side, where the producer is. */
  readonly from?: SideStatus;
  /** The outbound side, where consumers connect. */
  readonly to?: SideStatus;
  /** Where consumers connect, host:port; empty when only the inbound side is known. */
  readonly connect: readonly string[];
  /** Of the data between the gateways: `tls` when every side that could be asked says so. */
  readonly encryption: 'tls' | 'none';
  readonly rate: { readonly bitsPerSecond: number; readonly enforced: boolean };
  /** ISO 8601 UTC. */
  readonly createdAt: string;
  /** ISO 8601 UTC: the earlier one of both sides. */
  readonly expiresAt: string;
  readonly owner: string;
  /** How often the proxies of both sides ended by themselves and were started again. */
  readonly restarts: number;
  /** One sentence: what is going on, or what is wrong. */
  readonly diagnosis: string;
  /** From the consumer to the producer. */
  readonly hops: readonly HopTraffic[];
}

/** What one control server answered, or why it did not. */
export interface SideAnswer {
  readonly endpoint: Endpoint;
  readonly stream?: Stream | undefined;
  readonly error?: SciStreamError | undefined;
}

/** Puts the answers of both control servers together. At least one must hold a stream. */
export function mergeStatus(uid: string, from: SideAnswer | undefined, to: SideAnswer | undefined): StreamStatus {
  const streams = [from?.stream, to?.stream].flatMap((stream) => stream ?? []);
  const sides = { ...(from && { from: sideStatus(from) }), ...(to && { to: sideStatus(to) }) };
  const state = mergedState([sides.from, sides.to].flatMap((side) => side ?? []));
  const first = streams[0];
  return {
    uid,
    name: printableLine(streams.find(({ name }) => name !== '')?.name ?? ''),
    state,
    ...sides,
    connect: sides.to?.listeners ?? [],
    encryption: streams.every(({ encryption }) => encryption === 'tls') ? 'tls' : 'none',
    rate: {
      bitsPerSecond: Math.max(0, ...streams.map((stream) => Number(stream.bitsPerSecond))),
      enforced: streams.some(({ rateEnforced }) => rateEnforced),
    },
    createdAt: earliest(streams.map(({ createdAt }) => createdAt)),
    expiresAt: earliest(streams.map(({ expiresAt }) => expiresAt)),
    owner: printableLine(first?.owner ?? ''),
    restarts: restartsOf(streams),
    diagnosis: diagnose(uid, state, sides.from, sides.to),
    hops: [sides.to && traffic(sides.to), sides.from && traffic(sides.from)].flatMap((hop) => hop ?? []),
  };
}

/** Adds rates to `now` from an earlier status of the same stream, `ms` before. */
export function withRates(now: StreamStatus, before: StreamStatus, ms: number): StreamStatus {
  const rate = (after: number, earlier: number): number => Math.max(0, Math.round(((after - earlier) * 8000) / ms));
  const hops = now.hops.map((hop, i) => {
    const old = before.hops[i];
    if (!old || old.gateway !== hop.gateway) return hop;
    return {
      ...hop,
      bitsPerSecondToProducer: rate(hop.bytesToProducer, old.bytesToProducer),
      bitsPerSecondToConsumer: rate(hop.bytesToConsumer, old.bytesToConsumer),
    };
  });
  return { ...now, hops };
}

const restartsOf = (streams: readonly Stream[]): number => streams.reduce((total, { restarts }) => total + restarts, 0);

function sideStatus({ endpoint, stream, error }: SideAnswer): SideStatus {
  const sum = (key: 'connections' | 'open' | 'errors' | 'refused' | 'bytesIn' | 'bytesOut'): number =>
    (stream?.statistics ?? []).reduce((total, listener) => total + Number(listener[key]), 0);
  return {
    facility: printableLine(stream?.facility || endpoint.facility),
    s2cs: formatAddress(endpoint.address),
    state: stream ? userState(stream.state) : error?.code === 'SCI_STREAM_NOT_FOUND' ? 'failed' : 'unreachable',
    gateway: printableLine(stream?.gateway ?? ''),
    proxy: printableLine(stream?.proxy ?? ''),
    runtime: printableLine(stream?.runtime ?? ''),
    listeners: (stream?.listeners ?? []).map(printableLine),
    targets: (stream?.targets ?? []).map(printableLine),
    counted: isCounted(stream),
    ...moving(stream),
    connections: sum('connections'),
    open: sum('open'),
    errors: sum('errors'),
    refused: sum('refused'),
    restarts: restartsOf(stream ? [stream] : []),
    bytesIn: sum('bytesIn'),
    bytesOut: sum('bytesOut'),
    ...sideError(error?.toJSON() ?? stream?.error),
  };
}

const isCounted = (stream: Stream | undefined): boolean => (stream?.statistics ?? []).length > 0;

function moving({ movable, leaving }: Partial<Stream> = {}): Pick<SideStatus, 'movable' | 'leaving'> {
  return { movable: movable === true, ...(leaving && { leaving: printableLine(leaving) }) };
}

function sideError(failure: SideStatus['error']): Pick<SideStatus, 'error'> {
  if (!failure) return {};
  const { code, message, suggestions } = failure;
  return { error: { code, message: printable(message), suggestions: suggestions.map(printable) } };
}

/** An unknown state of a newer server is shown as the harmless one. */
const userState = (text: string): UserState => STATES.find((state) => state === text) ?? 'ready';

function mergedState(sides: readonly SideStatus[]): UserState {
  const states = sides.flatMap(({ state }) => (state === 'unreachable' ? [] : [state]));
  const over = states.filter((state) => state === 'released' || state === 'releasing').length;
  // One side is over and the other goes on; while both are on their way out all is well.
  if (states.includes('released') && over < states.length) return 'failed';
  return STATES.find((state) => states.includes(state)) ?? 'failed';
}

const earliest = (times: readonly string[]): string => times.filter((time) => time !== '').sort()[0] ?? '';

function traffic({ gateway, facility, counted, connections, open, bytesIn, bytesOut }: SideStatus): HopTraffic {
  const bytes = { bytesToProducer: bytesIn, bytesToConsumer: bytesOut };
  return { gateway: gateway || facility, counted, connections, open, ...bytes };
}

function diagnose(uid: string, state: UserState, from: SideStatus | undefined, to: SideStatus | undefined): string {
  const named = [
    { name: 'inbound', side: from },
    { name: 'outbound', side: to },
  ].flatMap(({ name, side }) => (side ? [{ name: `the ${name} side (${side.facility})`, side }] : []));
  const find = (wanted: SideStatus['state']) => named.find(({ side }) => side.state === wanted);
  const failed = find('failed');
  if (failed) return `${capital(failed.name)} has failed: ${failed.side.error?.message ?? 'unknown reason'}`;
  const silent = find('unreachable');
  if (silent) return `${capital(silent.name)} is unreachable: ${silent.side.error?.message ?? 'no answer'}`;
  const over = find('released');
  if (over && state === 'failed') return `${capital(over.name)} is released; the other side is not.`;
  const waiting = find('waiting');
  if (waiting) return `${capital(waiting.name)} is waiting for the HELLO of its application.`;
  if (from && to && isStale(from, to)) return `${STALE}: scistream stream update ${uid}`;
  const broken = named.find(({ side }) => side.errors > 0);
  if (broken)
    return `${broken.side.errors} connections of ${broken.name} broke or failed to reach ${broken.side.targets.join(', ')}.`;
  if (state === 'ready' && !named.some(({ side }) => side.counted)) return UNCOUNTED;
  return DIAGNOSES[state];
}

const STALE = 'The outbound side forwards to former listeners of the inbound side';

/**
 * Whether the outbound side forwards to listeners that the inbound side does not have any more, because it was moved. Where
 * it cannot be moved the targets may well have other names.
 */
export const isStale = (
  { movable, listeners }: Pick<SideStatus, 'movable' | 'listeners'>,
  { targets }: Pick<SideStatus, 'targets'>,
): boolean => movable && listeners.length > 0 && targets.some((target) => !listeners.includes(target));

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const UNCOUNTED = 'Ready; consumer connections are not counted.';
const DIAGNOSES: Readonly<Record<UserState, string>> = {
  failed: 'The stream has failed.',
  releasing: 'The stream is being released.',
  reserving: 'Listeners are being reserved.',
  waiting: 'The stream is waiting for HELLO.',
  streaming: 'Connections are open.',
  idle: 'No connection is open now; there were connections earlier.',
  ready: 'Ready; no consumer has connected yet.',
  released: 'The stream has ended.',
};
