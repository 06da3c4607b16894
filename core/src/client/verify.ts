import { SciStreamError, toSciStreamError } from '../contracts/errors.js';
import { poll } from '../contracts/wait.js';
import { printable } from '../wire/errors.js';
import type { ConnectResult, Stream } from '../wire/gen/scistream/v1/streams_pb.js';
import type { ControlClient } from './control-client.js';
import { isStale } from './status.js';

/** One step on the way from the consumer to the producer. */
export interface Hop {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  /** False where nothing was tried: the producer unless asked for, or a control server that is not ours to ask. */
  readonly checked: boolean;
  /** null when it was not checked. */
  readonly ok: boolean | null;
  readonly roundTripMs?: number;
  /** Why it does not work, or why it was not checked. */
  readonly error?: { readonly code: string; readonly message: string; readonly suggestions: readonly string[] };
}

/** What a check of the hops found. */
export interface VerifyResult {
  readonly ok: boolean;
  /** From the consumer to the producer. */
  readonly hops: readonly Hop[];
  /** Of all measured hops together, ms. */
  readonly roundTripMs?: number;
}

/** Who can be asked about a stream. `borrowed`: the inbound side belongs to somebody else, who may refuse. */
export interface Sides {
  readonly uid: string;
  readonly from?: ControlClient | undefined;
  readonly to?: ControlClient | undefined;
  readonly borrowed?: boolean;
}

/** How far to check. */
export interface VerifyOptions {
  /** Also connect to the producer, and once through the whole chain: the producer sees these connections. */
  readonly full?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** How long the connection through the whole chain is held, ms: long enough for the way, short for the producer. */
const HOLD_MS = 1000;
/** How long its arrival at the inbound gateway is waited for, ms. */
const ARRIVAL_MS = 5000;

const NOT_TRIED = { checked: false, ok: null } as const;

/**
 * Checks a stream hop by hop. No connection arrives at the producer unless `full` is set: gateways tell about their own
 * listeners, and between them a probe travels beside the stream.
 */
export async function checkHops(sides: Sides, { full = false, signal }: VerifyOptions = {}): Promise<VerifyResult> {
  const { uid, from, to } = sides;
  const limits = { signal };
  const [prod, cons] = [from?.get(uid, limits), to?.get(uid, limits)];
  const [outbound, inbound, between, stale] = await Promise.all([
    cons && gatewayHop('consumer to outbound gateway', 'consumer', cons, signal),
    from && prod && gatewayHop('inbound gateway', from.endpoint.facility, prod, signal),
    from && to && betweenHop(uid, from, to, signal),
    prod && cons && staleTargets(uid, prod, cons),
  ]);
  const lenient = (hop: Hop | undefined): Hop | undefined =>
    hop && sides.borrowed && refused(hop) ? { ...hop, ...NOT_TRIED } : hop;
  const hops = [outbound, lenient(between && { ...between, ...stale }), lenient(inbound)].flatMap((hop) => hop ?? []);
  const last =
    from && (full && hops.every(({ ok }) => ok) ? await producerHops(sides, from, signal) : [untouched(from)]);
  return summary([...hops, ...(last ?? [])]);
}

/** SCI_VERIFY_FAILED, naming the first hop that does not work and why; undefined when every hop works. */
export function verifyFailure({ hops }: VerifyResult): SciStreamError | undefined {
  const bad = hops.find(({ ok }) => ok === false);
  if (!bad) return undefined;
  const { code, message, suggestions } = bad.error ?? {
    code: 'SCI_VERIFY_FAILED',
    message: 'the reason is unknown.',
    suggestions: [],
  };
  const why = code === 'SCI_VERIFY_FAILED' ? message : `${message} [${code}]`;
  const text = `Hop "${bad.name}" (${bad.from} → ${bad.to}) failed: ${why}`;
  return new SciStreamError('SCI_VERIFY_FAILED', text, { suggestions, cause: bad.error });
}

/**
 * Codes that may change for the better within the time a caller is ready to wait: a network that takes a moment. Who may
 * do what and what has failed does not change.
 */
const PASSING = new Set(['SCI_VERIFY_FAILED', 'SCI_DEADLINE', 'SCI_S2CS_UNREACHABLE', 'SCI_PROXY_NOT_READY']);

/** Checks until every hop works or `waitMs` are over. @throws SCI_VERIFY_FAILED */
export async function waitVerified(sides: Sides, waitMs: number, signal?: AbortSignal): Promise<VerifyResult> {
  let last: VerifyResult = { ok: false, hops: [] };
  const attempt = async (): Promise<VerifyResult | undefined> => {
    last = await checkHops(sides, { signal });
    const hopeful = last.hops.every(({ ok, error }) => ok !== false || PASSING.has(error?.code ?? ''));
    return last.ok || !hopeful ? last : undefined;
  };
  const late = (error: unknown): SciStreamError => verifyFailure(last) ?? toSciStreamError(error);
  const result = await poll(attempt, { timeoutMs: waitMs, intervalMs: 200, signal }, late);
  const failure = verifyFailure(result);
  if (failure) throw failure;
  return result;
}

/** A gateway's own listeners: its data server lives and answers. */
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

/** What is wrong between the gateways after the inbound side was moved, whether a probe gets through or not. */
async function staleTargets(
  uid: string,
  asked: Promise<Stream>,
  other: Promise<Stream>,
): Promise<Pick<Hop, 'ok' | 'error'> | undefined> {
  // The hops of the gateways themselves tell what went wrong.
  const [prod, cons] = await Promise.all([asked, other]).catch(() => []);
  if (!prod || !cons || !isStale(prod, cons)) return undefined;
  const [has, wants] = [prod.listeners, [...new Set(cons.targets)]].map((list) => list.join(', '));
  const message = printable(`the outbound side forwards to ${wants}, but the inbound side was moved to ${has}.`);
  return {
    ok: false,
    error: { code: 'SCI_VERIFY_FAILED', message, suggestions: [`scistream stream update ${uid}`] },
  };
}

/** gateway, and each listener by name. */
const label = ({ gateway, listeners }: Stream): string => printable(`${gateway} ${listeners.join(', ')}`);

async function betweenHop(uid: string, from: ControlClient, to: ControlClient, signal?: AbortSignal): Promise<Hop> {
  const hop = {
    name: 'outbound gateway to inbound gateway',
    from: to.endpoint.facility,
    to: from.endpoint.facility,
    checked: true,
  };
  try {
    const probe = await from.openProbe(uid, { signal });
    return { ...hop, ok: true, roundTripMs: await to.runProbe(uid, probe, { signal }) };
  } catch (error) {
    signal?.throwIfAborted();
    const why = toSciStreamError(error).toJSON();
    // The stream may well have taken the last port; that is no reason to take it away again.
    return { ...hop, ...(why.code === 'SCI_PORTS_EXHAUSTED' ? NOT_TRIED : { ok: false }), error: why };
  }
}

const REFUSALS = new Set([
  'SCI_UNAUTHENTICATED',
  'SCI_FORBIDDEN',
  'SCI_STREAM_NOT_FOUND',
  'SCI_S2CS_UNREACHABLE',
  'SCI_TLS_UNTRUSTED',
]);
const refused = ({ ok, error }: Hop): boolean => ok === false && REFUSALS.has(error?.code ?? '');

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
    return results.map((result) => ({ ...hop, to: printable(result.address), ...outcome(result) }));
  } catch (error) {
    signal?.throwIfAborted();
    return [{ ...hop, to: 'producer', ok: false, error: toSciStreamError(error).toJSON() }];
  }
}

function outcome({ address, connected, roundTripUs, error }: ConnectResult): Pick<Hop, 'ok' | 'roundTripMs' | 'error'> {
  if (connected) return { ok: true, roundTripMs: Number(roundTripUs) / 1000 };
  const message = printable(`${address}: ${error || 'no connection'}`);
  return {
    ok: false,
    error: { code: 'SCI_VERIFY_FAILED', message, suggestions: ['Check that the producer listens on this address.'] },
  };
}

/** One connection from end to end, seen by the counters of the inbound gateway. */
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
    const refusal = held.then(({ results }) => results.map(outcome).find(({ ok }) => !ok)?.error);
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

/** Connections the inbound gateway has accepted; undefined where its proxy does not count. */
async function arrived(uid: string, from: ControlClient, signal?: AbortSignal): Promise<number | undefined> {
  const { statistics } = await from.get(uid, { signal });
  if (statistics.length === 0) return undefined;
  return statistics.reduce((sum, { connections }) => sum + Number(connections), 0);
}

function summary(hops: readonly Hop[]): VerifyResult {
  const times = hops.flatMap(({ roundTripMs }) => roundTripMs ?? []);
  const targets = hops.filter(({ name, roundTripMs }) => name.endsWith('to producer') && roundTripMs !== undefined);
  // Several targets are reached side by side, so only the slowest of them counts.
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
