import { printable, SciStreamError, toSciStreamError } from '../contracts/errors.js';
import { poll } from '../contracts/wait.js';
import type { ConnectResult, Stream } from '../wire/gen/scistream/v1/streams_pb.js';
import type { ControlClient } from './control-client.js';
import { isStale } from './status.js';

/** One hop on the path from the consumer to the producer. */
export interface Hop {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  /** False for a hop that was not tried: the producer without `full`, or a control server that rejected the request. */
  readonly checked: boolean;
  /** null for a hop that was not checked. */
  readonly ok: boolean | null;
  readonly roundTripMs?: number;
  /** Reason why the hop failed or was not checked. */
  readonly error?: { readonly code: string; readonly message: string; readonly suggestions: readonly string[] };
}

/** Result of a check of all hops. */
export interface VerifyResult {
  readonly ok: boolean;
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
}

/** Options of a check. */
export interface VerifyOptions {
  /** Also connect to the producer, and once through the whole path. The producer sees these connections. */
  readonly full?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Time that the connection through the whole path is held, ms: long enough to arrive, short for the producer. */
const HOLD_MS = 1000;
/** Maximum time until it arrives at the inbound gateway, ms. */
const ARRIVAL_MS = 5000;

const NOT_TRIED = { checked: false, ok: null } as const;

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
    from && to && prod && betweenHop(uid, from, to, prod, signal),
    prod && cons && staleTargets(uid, prod, cons),
  ]);
  const lenient = (hop: Hop | undefined): Hop | undefined =>
    hop && sides.borrowed && rejected(hop) ? { ...hop, ...NOT_TRIED } : hop;
  const hops = [outbound, lenient(between && { ...between, ...stale }), lenient(inbound)].flatMap((hop) => hop ?? []);
  const last =
    from && (full && hops.every(({ ok }) => ok) ? await producerHops(sides, from, signal) : [untouched(from)]);
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
 * @throws SCI_VERIFY_FAILED
 */
export async function waitVerified(sides: Sides, waitMs: number, signal?: AbortSignal): Promise<VerifyResult> {
  let last: VerifyResult = { ok: false, hops: [] };
  const attempt = async (): Promise<VerifyResult | undefined> => {
    last = await checkHops(sides, { signal });
    const hopeful = last.hops.every(({ ok, error }) => ok !== false || TEMPORARY.has(error?.code ?? ''));
    return last.ok || !hopeful ? last : undefined;
  };
  const late = (error: unknown): SciStreamError => verifyFailure(last) ?? toSciStreamError(error);
  const result = await poll(attempt, { timeoutMs: waitMs, intervalMs: 200, signal }, late);
  const failure = verifyFailure(result);
  if (failure) throw failure;
  return result;
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
    return { ...hop, ok: false, error: { code, message: printable(message), suggestions: suggestions.map(printable) } };
  } catch (error) {
    signal?.throwIfAborted();
    return { name, from, to: 'its listeners', checked: true, ok: false, error: toSciStreamError(error).toJSON() };
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
  const message = printable(`the outbound side forwards to ${wants}, but the inbound side was moved to ${has}.`);
  return {
    ok: false,
    error: { code: 'SCI_VERIFY_FAILED', message, suggestions: [`scistream stream update ${uid}`] },
  };
}

/** The gateway and its listeners. */
const label = ({ gateway, listeners }: Stream): string => printable(`${gateway} ${listeners.join(', ')}`);

async function betweenHop(
  uid: string,
  from: ControlClient,
  to: ControlClient,
  prod: Promise<Stream>,
  signal?: AbortSignal,
): Promise<Hop> {
  const hop = {
    name: 'outbound gateway to inbound gateway',
    from: to.endpoint.facility,
    to: from.endpoint.facility,
    checked: true,
  };
  try {
    const encrypted = await encryptedHop(uid, from, to, prod, signal);
    if (encrypted) return { ...hop, ...encrypted };
    const probe = await from.openProbe(uid, false, { signal });
    const roundTripMs = await to.runProbe(uid, probe, { signal });
    // The name of a hop says what was tried.
    const isPlain = (await prod.catch(() => undefined))?.encryption !== 'tls';
    return { ...hop, name: isPlain ? hop.name : `${hop.name}, TCP only`, ok: true, roundTripMs };
  } catch (error) {
    signal?.throwIfAborted();
    const why = toSciStreamError(error).toJSON();
    // The stream itself may have taken the last port, which does not make it fail.
    return { ...hop, ...(why.code === 'SCI_PORTS_EXHAUSTED' ? NOT_TRIED : { ok: false }), error: why };
  }
}

/**
 * A TLS handshake of the outbound gateway with each inbound listener, or with a port beside them if their proxy does not
 * answer probes. The result of the slowest one, or of the first that failed; undefined for a stream without encryption
 * and if one side has an earlier version.
 */
async function encryptedHop(
  uid: string,
  from: ControlClient,
  to: ControlClient,
  prod: Promise<Stream>,
  signal?: AbortSignal,
): Promise<Pick<Hop, 'ok' | 'roundTripMs' | 'error'> | undefined> {
  // The hop of the inbound gateway reports this error.
  const stream = await prod.catch(() => undefined);
  if (stream?.encryption !== 'tls') return undefined;
  const beside = stream.probe === '' ? await from.openProbe(uid, true, { signal }) : undefined;
  if (beside?.tls === false) return undefined;
  try {
    const { results } = await to.probeTargets(uid, stream.probe || 'data', beside?.address ?? '', { signal });
    const outcomes = results.map((result) => outcome(result, BETWEEN));
    const [slowest] = outcomes.toSorted((a, b) => (b.roundTripMs ?? 0) - (a.roundTripMs ?? 0));
    return outcomes.find(({ ok }) => !ok) ?? slowest;
  } catch (error) {
    if (SciStreamError.is(error) && error.code === 'SCI_PROXY_UNSUPPORTED') return undefined;
    throw error;
  }
}

/** Suggestions for a listener of the other gateway that does not answer. */
const BETWEEN = ["Open the other gateway's port range in the firewalls between the two gateways."];

const REJECTIONS = new Set([
  'SCI_UNAUTHENTICATED',
  'SCI_FORBIDDEN',
  'SCI_STREAM_NOT_FOUND',
  'SCI_S2CS_UNREACHABLE',
  'SCI_TLS_UNTRUSTED',
]);
const rejected = ({ ok, error }: Hop): boolean => ok === false && REJECTIONS.has(error?.code ?? '');

function untouched({ endpoint }: ControlClient): Hop {
  return { name: 'inbound gateway to producer', from: endpoint.facility, to: 'producer', ...NOT_TRIED };
}

async function producerHops({ uid, to }: Sides, from: ControlClient, signal?: AbortSignal): Promise<readonly Hop[]> {
  const targets = await targetHops(uid, from, signal);
  if (!to || !targets.every(({ ok }) => ok)) return targets;
  return [...targets, await chainHop(uid, from, to, signal)];
}

async function targetHops(uid: string, from: ControlClient, signal?: AbortSignal): Promise<readonly Hop[]> {
  const hop = { name: 'inbound gateway to producer', from: from.endpoint.facility, checked: true };
  try {
    const { results } = await from.connectTargets(uid, { signal });
    return results.map((result) => ({ ...hop, to: printable(result.address), ...outcome(result, APPLICATION) }));
  } catch (error) {
    signal?.throwIfAborted();
    return [{ ...hop, to: 'producer', ok: false, error: toSciStreamError(error).toJSON() }];
  }
}

const APPLICATION = ['Check that the producer listens on this address.'];

function outcome(
  { address, connected, roundTripUs, error }: ConnectResult,
  suggestions: readonly string[],
): Pick<Hop, 'ok' | 'roundTripMs' | 'error'> {
  if (connected) return { ok: true, roundTripMs: Number(roundTripUs) / 1000 };
  const message = printable(`${address}: ${error || 'no connection'}`);
  return {
    ok: false,
    error: { code: 'SCI_VERIFY_FAILED', message, suggestions },
  };
}

/** One connection through the whole path, detected by the counters of the inbound gateway. */
async function chainHop(uid: string, from: ControlClient, to: ControlClient, signal?: AbortSignal): Promise<Hop> {
  const hop = { name: 'consumer to producer', from: to.endpoint.facility, to: from.endpoint.facility, checked: true };
  const hangUp = new AbortController();
  try {
    const before = await arrived(uid, from, signal);
    if (before === undefined) {
      return {
        ...hop,
        ...NOT_TRIED,
        error: { code: 'SCI_PROXY_UNSUPPORTED', message: 'the proxy does not count', suggestions: [] },
      };
    }
    const ended = signal ? AbortSignal.any([signal, hangUp.signal]) : hangUp.signal;
    const held = to.connectListener(uid, HOLD_MS, { signal: ended });
    const refusal = held.then(
      ({ results }) => results.map((result) => outcome(result, APPLICATION)).find(({ ok }) => !ok)?.error,
    );
    const seen = poll(
      async () => ((await arrived(uid, from, signal)) ?? 0) > before || undefined,
      { timeoutMs: ARRIVAL_MS, signal: ended },
      () =>
        new SciStreamError('SCI_VERIFY_FAILED', `No connection reached the inbound gateway within ${ARRIVAL_MS} ms.`),
    ).then(() => undefined);
    const error = await Promise.race([seen, refusal.then((refused) => refused ?? seen)]).finally(() => {
      hangUp.abort();
      return Promise.allSettled([refusal, seen]);
    });
    return { ...hop, ok: !error, ...(error && { error }) };
  } catch (error) {
    signal?.throwIfAborted();
    return { ...hop, ok: false, error: toSciStreamError(error).toJSON() };
  }
}

/** Accepted connections of the inbound gateway; undefined if its proxy does not count. */
async function arrived(uid: string, from: ControlClient, signal?: AbortSignal): Promise<number | undefined> {
  const { statistics } = await from.get(uid, { signal });
  if (statistics.length === 0) return undefined;
  return statistics.reduce((sum, { connections }) => sum + Number(connections), 0);
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
    hops,
    ...(times.length > 0 && { roundTripMs: round(roundTripMs) }),
  };
}

const round = (ms: number): number => Number(ms.toFixed(3));
