import type { Stream } from '../wire/gen/scistream/v1/streams_pb.js';
import {
  restartsOf,
  sideStatus,
  STATES,
  targetTexts,
  type SideAnswer,
  type SideStatus,
  type UserState,
} from './side-status.js';

/** Traffic through one gateway. Rates are averages over `sampleMs`, bit/s. */
export interface HopTraffic extends Pick<SideStatus, 'failures' | 'refused'> {
  readonly gateway: string;
  /** Whether the counters are valid, as in {@link SideStatus}. */
  readonly counted: boolean;
  readonly connections: number;
  readonly open: number;
  readonly bytesToProducer: number;
  readonly bytesToConsumer: number;
  readonly bitsPerSecondToProducer?: number;
  readonly bitsPerSecondToConsumer?: number;
}

/** Both sides of a stream together. A side that the user does not own is absent. */
export interface StreamStatus {
  readonly uid: string;
  readonly name: string;
  readonly state: UserState;
  /** The inbound side, at the facility of the producer. */
  readonly from?: SideStatus;
  /** The outbound side, where consumers connect. */
  readonly to?: SideStatus;
  /** Listeners for consumers, host:port; empty when only the inbound side is known. */
  readonly connect: readonly string[];
  /** Encryption between the gateways; `tls` if every side that answered reports it. */
  readonly encryption: 'tls' | 'none';
  readonly rate: { readonly bitsPerSecond: number; readonly enforced: boolean };
  /** ISO 8601 UTC. */
  readonly createdAt: string;
  /** End of the lifetime, the earlier one of both sides; ISO 8601 UTC. */
  readonly expiresAt: string;
  readonly owner: string;
  /** Restarts of the proxies of both sides. */
  readonly restarts: number;
  /** One sentence that describes the state or the problem. */
  readonly diagnosis: string;
  /** From the consumer to the producer. */
  readonly hops: readonly HopTraffic[];
}

/** Facts that the journal has of a stream, for control servers that do not report them. */
export interface KnownFacts {
  readonly name?: string;
  readonly createdAt?: string;
}

/** Merges the answers of both control servers. */
export function mergeStatus(
  uid: string,
  from: SideAnswer | undefined,
  to: SideAnswer | undefined,
  { name = '', createdAt = '' }: KnownFacts = {},
): StreamStatus {
  const streams = [from?.stream, to?.stream].flatMap((stream) => stream ?? []);
  const sides = { ...(from && { from: sideStatus(from) }), ...(to && { to: sideStatus(to) }) };
  const state = mergedState([sides.from, sides.to].flatMap((side) => side ?? []));
  const first = streams[0];
  return {
    uid,
    name: streams.find((stream) => stream.name !== '')?.name ?? name,
    state,
    ...sides,
    connect: sides.to?.listeners ?? [],
    encryption: isEncrypted(streams) ? 'tls' : 'none',
    rate: {
      bitsPerSecond: Math.max(0, ...streams.map((stream) => Number(stream.bitsPerSecond))),
      enforced: streams.some(({ rateEnforced }) => rateEnforced),
    },
    createdAt: earliest(streams.map((stream) => stream.createdAt)) || createdAt,
    expiresAt: earliest(streams.map((stream) => stream.expiresAt)),
    owner: first?.owner ?? '',
    restarts: restartsOf(streams),
    diagnosis: diagnose(uid, state, sides.from, sides.to),
    hops: [sides.to && traffic(sides.to), sides.from && traffic(sides.from)].flatMap((hop) => hop ?? []),
  };
}

/** Adds rates to `now`, computed from a status of the same stream that is `ms` older. */
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

/** An older control server, which reports no stream, does not encrypt. */
const isEncrypted = (streams: readonly Stream[]): boolean =>
  streams.length > 0 && streams.every(({ encryption }) => encryption === 'tls');

function mergedState(sides: readonly SideStatus[]): UserState {
  const states = sides.map(({ state }) => (state === 'unreachable' ? 'unknown' : state));
  const goesOn = states.some((state) => state !== 'released' && state !== 'releasing' && state !== 'unknown');
  // One side has ended and the other continues. While both are ending, nothing is wrong.
  if (states.includes('released') && goesOn) return 'failed';
  return STATES.find((state) => states.includes(state)) ?? 'failed';
}

const earliest = (times: readonly string[]): string => times.filter((time) => time !== '').sort()[0] ?? '';

function traffic(side: SideStatus): HopTraffic {
  const { gateway, facility, counted, connections, open, bytesIn, bytesOut, failures, refused } = side;
  const bytes = { bytesToProducer: bytesIn, bytesToConsumer: bytesOut };
  const more = { failures, ...(refused === undefined ? {} : { refused }) };
  return { gateway: gateway || facility, counted, connections, open, ...bytes, ...more };
}

interface NamedSide {
  readonly name: string;
  readonly side: SideStatus;
}

/** What keeps a side from its end, or from its next start. */
function heldText(releasing: NamedSide | undefined, restarting: NamedSide | undefined): string | undefined {
  if (releasing?.side.error) return `${capital(releasing.name)} is being released: ${releasing.side.error.message}`;
  if (!restarting) return undefined;
  const reason = restarting.side.error?.message;
  return `The proxy of ${restarting.name} is being restarted${reason ? `: ${reason}` : '.'}`;
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
  if (silent)
    return `The state of ${silent.name} is unknown: ${silent.side.error?.message ?? 'its control server does not answer.'}`;
  const mute = find('unknown');
  if (mute) return muteText(mute.name, mute.side);
  const over = find('released');
  if (over && state === 'failed')
    return `${capital(over.name)} is released, and the other side is not. Release the stream: scistream stream down ${uid}`;
  const held = heldText(find('releasing'), find('restarting'));
  if (held) return held;
  const waiting = find('waiting');
  if (waiting) return `${capital(waiting.name)} waits for HELLO from its application controller.`;
  if (from && to && isStale(from, to)) return `${STALE}: scistream stream update ${uid}`;
  const failing = failingText(named, from);
  if (failing) return failing;
  if (state === 'ready' && !named.some(({ side }) => side.counted)) return UNCOUNTED;
  return DIAGNOSES[state];
}

/** A side without an error has a state of a newer server. */
const muteText = (name: string, { error }: SideStatus): string =>
  error
    ? `The control server of ${name} offers no status of streams, because it has another version.`
    : `${capital(name)} is in a state that this version does not know.`;

/** What makes connections fail now, if anything. */
function failingText(
  named: readonly { readonly name: string; readonly side: SideStatus }[],
  from: SideStatus | undefined,
): string | undefined {
  const full = named.find(({ side }) => side.limit?.reached);
  if (full) return limitText(full.name, full.side);
  const short = named.find(({ side }) => (side.failures.limitReachedNow ?? 0) > 0);
  if (short) return shortText(short.name, short.side);
  const lost = named.find(({ side }) => isUnreachable(side));
  return lost && unreachableText(lost.name, lost.side, lost.side === from);
}

/** Whether the latest connections did not reach the target. An older gateway, and some proxies, cannot tell. */
const isUnreachable = ({ failures }: SideStatus): boolean => (failures.unreachableNow ?? 0) > 0;

/** @param producer Whether the targets of the side are the producer, and not the other gateway. */
function unreachableText(name: string, side: SideStatus, producer: boolean): string {
  const what = `${producer ? 'the producer' : 'the inbound gateway'} (${targetTexts(side).join(', ')})`;
  return `${latest(side.failures.unreachableNow)} of ${name} did not reach ${what}. Check that it runs, and check the firewalls.`;
}

function shortText(name: string, { failures, gateway }: SideStatus): string {
  const what = `connections, open files or local ports of gateway ${gateway} ran out`;
  return `${latest(failures.limitReachedNow)} of ${name} failed because ${what}.`;
}

const latest = (count = 0): string => (count === 1 ? 'The last connection' : `The last ${count} connections`);

function limitText(name: string, { proxy, limit }: SideStatus): string {
  const what = `The limit of ${limit?.connections} connections per process of ${proxy} is reached on ${name}`;
  return `${what}. More connections wait or are closed. Raise proxies.${proxy}.maxConnections.`;
}

const STALE = 'The outbound side still forwards to the listeners that the inbound side had before its move. Run';

/**
 * Whether the outbound side forwards to listeners that the inbound side lost in a move. For a stream that is not
 * movable the targets prove nothing, because they can be other names of the same listeners.
 */
export const isStale = (
  { movable, listeners }: Pick<SideStatus, 'movable' | 'listeners'>,
  { targets }: Pick<SideStatus, 'targets'>,
): boolean => movable && listeners.length > 0 && targets.some((target) => !listeners.includes(target));

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const UNCOUNTED = 'Ready; whether a consumer has connected is unknown, because the proxy does not count connections.';
const DIAGNOSES: Readonly<Record<UserState, string>> = {
  failed: 'The stream has failed.',
  releasing: 'The stream is being released.',
  reserving: 'Listeners are being reserved.',
  waiting: 'The stream is waiting for HELLO.',
  restarting: 'A proxy is being restarted.',
  streaming: 'Connections are open.',
  idle: 'No connection is open; earlier connections have ended.',
  ready: 'Ready; no consumer has connected yet.',
  released: 'The stream has ended.',
  unknown: 'The control servers do not report the stream.',
};
