import { SciStreamError, toSciStreamError } from '../contracts/errors.js';
import type { ProbeAnswer } from '../contracts/stream.js';
import { poll } from '../contracts/wait.js';
import type { Stream } from '../wire/gen/scistream/v1/streams_pb.js';
import type { ControlClient } from './control-client.js';
import { NOT_TRIED, outcome, producerHops, type Hop } from './hops.js';
import type { Plan } from './plan.js';
import { isStale } from './status.js';
import { encryptedHop } from './tls-hop.js';

/** Result of a check of all hops. */
export interface VerifyResult {
  readonly ok: boolean;
  /**
   * Whether the path between the gateways was tried and works, with TLS unless the stream is not encrypted. False if the
   * other side is unknown, and if the control servers offer or allow no such test.
   */
  readonly verified: boolean;
  /** From the consumer to the producer. */
  readonly hops: readonly Hop[];
  /** Sum over all measured hops, ms. */
  readonly roundTripMs?: number;
}

/** The control servers to check. `borrowed`: another user owns the inbound side, so its server may reject requests. */
export interface Sides {
  readonly uid: string;
  readonly from?: ControlClient | undefined;
  readonly to?: ControlClient | undefined;
  readonly borrowed?: boolean;
  /** Absent: not known here. The inbound side reports it, and the test of the path waits for that answer. */
  readonly encryption?: Plan['encryption'];
  /** How the listeners of an inbound side of another user answer a probe, if its ticket says so. */
  readonly probe?: ProbeAnswer | undefined;
}

/** Options of a check. */
export interface VerifyOptions {
  /** Also connect to the producer, and once through the whole path. The producer sees these connections. */
  readonly full?: boolean;
  readonly signal?: AbortSignal | undefined;
}

const BETWEEN = 'outbound gateway to inbound gateway';

/**
 * Checks a stream hop by hop. Nothing reaches the producer unless `full` is set: gateways report on their own
 * listeners, and a probe next to the stream checks the path between them.
 */
export async function checkHops(sides: Sides, { full = false, signal }: VerifyOptions = {}): Promise<VerifyResult> {
  const { uid, from, to } = sides;
  const limits = { signal };
  const [prod, cons] = [from?.get(uid, limits), to?.get(uid, limits)];
  const [outbound, inbound, between, stale] = await Promise.all([
    cons && gatewayHop('consumer to outbound gateway', 'consumer', cons, signal),
    from && prod && gatewayHop('inbound gateway', from.endpoint.facility, prod, signal),
    to && cons && (from || sides.borrowed) && betweenHop(sides, to, prod, cons, signal),
    prod && cons && staleTargets(uid, prod, cons),
  ]);
  const foreign = (hop: Hop | undefined): Hop | undefined =>
    hop && sides.borrowed && REJECTIONS.has(hop.error?.code ?? '') ? { ...hop, ...NOT_TRIED } : hop;
  const hops = [outbound, between && { ...between, ...stale }, foreign(inbound)].flatMap((hop) => hop || []);
  const last =
    from && (full && hops.every(({ ok }) => ok) ? await producerHops(uid, from, to, signal) : [untouched(from)]);
  return summary([...hops, ...(last ?? [])]);
}

/** SCI_VERIFY_FAILED for the first hop that failed, with the reason; undefined when every hop works. */
export function verifyFailure({ hops }: VerifyResult): SciStreamError | undefined {
  const bad = hops.find(({ ok }) => ok === false);
  if (!bad) return undefined;
  const { code, message, suggestions } = bad.error ?? {
    code: 'SCI_VERIFY_FAILED',
    message: 'unknown reason.',
    suggestions: [],
  };
  const why = code === 'SCI_VERIFY_FAILED' ? message : `${message} [${code}]`;
  const text = `Hop "${bad.name}" (${bad.from} → ${bad.to}) failed: ${why}`;
  return new SciStreamError('SCI_VERIFY_FAILED', text, { suggestions, cause: bad.error });
}

/**
 * Codes of temporary failures, such as a network that needs a moment. Rejected requests and failed streams are
 * permanent.
 */
const TEMPORARY = new Set(['SCI_VERIFY_FAILED', 'SCI_DEADLINE', 'SCI_S2CS_UNREACHABLE', 'SCI_PROXY_NOT_READY']);

/**
 * Repeats the check until every hop works, a failure is permanent, or `waitMs` have passed.
 * @throws SCI_VERIFY_FAILED, also if the path to an inbound side of another user was not tried
 */
export async function waitVerified(sides: Sides, waitMs: number, signal?: AbortSignal): Promise<VerifyResult> {
  let last: VerifyResult = { ok: false, verified: false, hops: [] };
  const attempt = async (): Promise<VerifyResult | undefined> => {
    last = await checkHops(sides, { signal });
    const hopeful = last.hops.every(({ ok, error }) => ok !== false || TEMPORARY.has(error?.code ?? ''));
    return last.ok || !hopeful ? last : undefined;
  };
  const failureOf = (result: VerifyResult): SciStreamError | undefined =>
    sides.borrowed ? unverified(verifyFailure(result) ?? untriedPath(result)) : verifyFailure(result);
  const late = (error: unknown): SciStreamError => failureOf(last) ?? toSciStreamError(error);
  const result = await poll(attempt, { timeoutMs: waitMs, intervalMs: 200, signal }, late);
  const failure = failureOf(result);
  if (failure) throw failure;
  return result;
}

function unverified(error: SciStreamError | undefined): SciStreamError | undefined {
  if (!error) return undefined;
  const { code, message, cause } = error;
  const suggestions = [...error.suggestions, 'Or add --unverified to create the stream without this check.'];
  return new SciStreamError(code, message, { suggestions, cause });
}

/** SCI_VERIFY_FAILED if the path between the gateways was not tried. An older control server offers no test. */
function untriedPath({ hops }: VerifyResult): SciStreamError | undefined {
  const path = hops.find(({ name }) => name === BETWEEN);
  if (!path || path.checked || path.error?.code === 'SCI_NOT_OFFERED') return undefined;
  const message = path.error?.message ?? 'its control server is unknown.';
  const suggestions = ['Use a ticket with encryption. Without it, a test connection would reach the producer.'];
  const text = `The path from ${path.from} to ${path.to} cannot be checked: ${message}`;
  return new SciStreamError('SCI_VERIFY_FAILED', text, { suggestions, cause: path.error });
}

/** The listeners of a gateway: its data server answers and the stream has not ended. */
async function gatewayHop(name: string, from: string, asked: Promise<Stream>, signal?: AbortSignal): Promise<Hop> {
  try {
    const stream = await asked;
    const hop = { name, from, to: label(stream), checked: true };
    if (stream.state !== 'failed' && stream.state !== 'released' && !stream.error) return { ...hop, ok: true };
    const {
      code = 'SCI_STREAM_FAILED',
      message = `the stream is ${stream.state}`,
      suggestions = [],
    } = stream.error ?? {};
    return { ...hop, ok: false, error: { code, message, suggestions } };
  } catch (error) {
    signal?.throwIfAborted();
    const why = toSciStreamError(error).toJSON();
    const result = why.code === 'SCI_NOT_OFFERED' ? NOT_TRIED : ({ checked: true, ok: false } as const);
    return { name, from, to: 'its listeners', ...result, error: why };
  }
}

/** The failure of the hop between the gateways after a move of the inbound side, even if a probe succeeds. */
async function staleTargets(
  uid: string,
  asked: Promise<Stream>,
  other: Promise<Stream>,
): Promise<Pick<Hop, 'ok' | 'error'> | undefined> {
  // The hops of the gateways report these errors.
  const [prod, cons] = await Promise.all([asked, other]).catch(() => []);
  if (!prod || !cons || !isStale(prod, cons)) return undefined;
  const [has, wants] = [prod.listeners, [...new Set(cons.targets)]].map((list) => list.join(', '));
  const message = `the outbound side forwards to ${wants}, but the inbound side was moved to ${has}.`;
  return {
    ok: false,
    error: { code: 'SCI_VERIFY_FAILED', message, suggestions: [`scistream stream update ${uid}`] },
  };
}

/** The gateway and its listeners. */
const label = ({ gateway, listeners }: Stream): string => `${gateway} ${listeners.join(', ')}`;

/**
 * The path between the gateways: a TLS handshake if the stream is encrypted, otherwise a probe next to the stream; if
 * that cannot be opened, a connection to the listeners.
 */
async function betweenHop(
  { uid, from, borrowed, encryption, probe: promised }: Sides,
  to: ControlClient,
  prod: Promise<Stream> | undefined,
  cons: Promise<Stream>,
  signal?: AbortSignal,
): Promise<Hop> {
  const peer = from?.endpoint.facility ?? 'inbound gateway';
  const hop = { name: BETWEEN, from: to.endpoint.facility, to: peer, checked: true };
  try {
    // The hop of the inbound gateway reports the error of `prod`.
    const stream = encryption === 'none' ? undefined : await prod?.catch(() => undefined);
    const answer = stream ? stream.probe : promised;
    const encrypted = encryption !== 'none' && (stream ? stream.encryption === 'tls' : promised !== undefined);
    const way = { uid, answer, from: stream && from, to, cons, failure: borrowed ? INBOUND_GONE : NO_PATH };
    const proven = encrypted ? await encryptedHop(way, signal) : undefined;
    if (proven) return { ...hop, ...proven };
    if (!from) return { ...hop, ...(await reachHop(uid, to, undefined, signal)) };
    const probe = await from.openProbe(uid, false, { signal });
    const roundTripMs = await to.runProbe(uid, probe, { signal });
    return { ...hop, ok: true, roundTripMs, proof: 'tcp', ...(encrypted && { error: EARLIER }) };
  } catch (error) {
    signal?.throwIfAborted();
    const why = toSciStreamError(error).toJSON();
    const refused = NO_PROBE.has(why.code) || (borrowed === true && REJECTIONS.has(why.code));
    return { ...hop, ...(refused ? await reachHop(uid, to, why, signal) : { ok: false, error: why }) };
  }
}

/** Why only TCP was tested. */
const tcpOnly = (why: string): NonNullable<Hop['error']> => ({
  code: 'SCI_NOT_OFFERED',
  message: `Only a TCP connection was tested, and not TLS: ${why}`,
  suggestions: [],
});
const EARLIER = tcpOnly('a control server or gateway has an earlier version.');
const BORROWED = tcpOnly(
  'the control server of the inbound side does not allow or offer the test, and the gateways cannot do it without that server.',
);

const NAT =
  'If the inbound gateway is behind NAT, its operator sets gateways[].advertise to the address that others reach.';
const NO_PATH = ["Open the other gateway's port range in the firewalls between the two gateways.", NAT];

/**
 * Connects from the outbound gateway to the listeners of the inbound one. Only for an encrypted stream, whose producer is
 * not contacted before the TLS handshake.
 * @param why The reason why no probe was possible.
 */
async function reachHop(
  uid: string,
  to: ControlClient,
  why: Hop['error'],
  signal?: AbortSignal,
): Promise<Partial<Hop> & Pick<Hop, 'ok'>> {
  const untried = { ...NOT_TRIED, ...(why && { error: why }) };
  try {
    if ((await to.get(uid, { signal })).encryption !== 'tls') return untried;
    const { results: tried } = await to.connectTargets(uid, { signal });
    const results = tried.map((result) => outcome(result, INBOUND_GONE));
    const times = results.flatMap(({ roundTripMs }) => roundTripMs ?? []);
    return (
      results.find(({ ok }) => !ok) ?? { ok: true, roundTripMs: Math.max(...times), proof: 'tcp', error: BORROWED }
    );
  } catch (error) {
    signal?.throwIfAborted();
    const { code, ...rest } = toSciStreamError(error).toJSON();
    return code === 'SCI_NOT_OFFERED' ? untried : { ok: false, error: { code, ...rest } };
  }
}

const INBOUND_GONE = [
  'Ask the sender of the ticket whether the inbound side still exists, and whether firewalls let your gateway reach it.',
  NAT,
];

/** Codes with which a control server of another user does not answer. */
const REJECTIONS = new Set([
  'SCI_UNAUTHENTICATED',
  'SCI_FORBIDDEN',
  'SCI_STREAM_NOT_FOUND',
  'SCI_S2CS_UNREACHABLE',
  'SCI_TLS_UNTRUSTED',
]);
/** Codes of a probe that is not possible although the path may work. The stream may have taken the last port. */
const NO_PROBE = new Set(['SCI_PORTS_EXHAUSTED', 'SCI_NOT_OFFERED']);

function untouched({ endpoint }: ControlClient): Hop {
  return { name: 'inbound gateway to producer', from: endpoint.facility, to: 'producer', ...NOT_TRIED };
}

function summary(hops: readonly Hop[]): VerifyResult {
  const times = hops.flatMap(({ roundTripMs }) => roundTripMs ?? []);
  const targets = hops.filter(({ name, roundTripMs }) => name.endsWith('to producer') && roundTripMs !== undefined);
  // Targets are connected in parallel, so only the slowest counts.
  const rest =
    times.reduce((sum, ms) => sum + ms, 0) - targets.reduce((sum, { roundTripMs = 0 }) => sum + roundTripMs, 0);
  const roundTripMs = rest + Math.max(0, ...targets.map(({ roundTripMs: ms = 0 }) => ms));
  return {
    ok: hops.every(({ ok }) => ok !== false),
    verified: hops.some(isProven) && hops.every(({ ok }) => ok !== false),
    hops,
    ...(times.length > 0 && { roundTripMs: round(roundTripMs) }),
  };
}

/** A test with TCP alone has an error if the stream is encrypted. */
const isProven = ({ ok, proof, error }: Hop): boolean =>
  ok === true && (proof === 'tls' || (proof === 'tcp' && !error));

const round = (ms: number): number => Number(ms.toFixed(3));
