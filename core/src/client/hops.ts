import { SciStreamError, toSciStreamError } from '../contracts/errors.js';
import { formatDuration } from '../contracts/units.js';
import { poll } from '../contracts/wait.js';
import type { ConnectResult } from '../wire/gen/scistream/v1/streams_pb.js';
import type { ControlClient } from './control-client.js';

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
  /** What a successful test of the path between the gateways proves. Absent for other hops. */
  readonly proof?: 'tls' | 'tcp';
  /** Number of the tested listeners or targets, if some were not tested. */
  readonly tested?: { readonly count: number; readonly of: number };
  /** Reason why the hop failed or was not checked, or why TLS was not tested. */
  readonly error?: { readonly code: string; readonly message: string; readonly suggestions: readonly string[] };
}

/** A hop that was not tried. */
export const NOT_TRIED = { checked: false, ok: null } as const;

/** Time that the connection through the whole path is held, ms: long enough to arrive, short for the producer. */
const HOLD_MS = 1000;
/** Maximum time until it arrives at the inbound gateway, ms. */
const ARRIVAL_MS = 5000;

/** The hop to each target, and once the whole path. The producer sees these connections. */
export async function producerHops(
  uid: string,
  from: ControlClient,
  to: ControlClient | undefined,
  signal?: AbortSignal,
): Promise<readonly Hop[]> {
  const targets = await targetHops(uid, from, signal);
  if (!to || targets.some(({ ok }) => ok === false)) return targets;
  return [...targets, await chainHop(uid, from, to, signal)];
}

async function targetHops(uid: string, from: ControlClient, signal?: AbortSignal): Promise<readonly Hop[]> {
  const hop = { name: 'inbound gateway to producer', from: from.endpoint.facility, checked: true };
  try {
    const { results } = await from.connectTargets(uid, { signal });
    const tried = results.map((result) => ({ ...hop, to: result.address, ...atTarget(result) }));
    const rest = new Set((await from.get(uid, { signal })).targets).size - results.length;
    if (rest <= 0) return tried;
    const error = { code: 'SCI_DEADLINE', message: 'not tested, because the time was over', suggestions: [] };
    return [...tried, { ...hop, to: `${rest} other targets`, ...NOT_TRIED, error }];
  } catch (error) {
    signal?.throwIfAborted();
    return [{ ...hop, to: 'producer', ok: false, error: toSciStreamError(error).toJSON() }];
  }
}

const PRODUCER =
  'Check that the producer listens on this address, and that firewalls let the inbound gateway reach it.';

/** The result of one connection. */
export function outcome(
  { address, connected, roundTripUs, error }: ConnectResult,
  suggestions: readonly string[] = [PRODUCER],
): Pick<Hop, 'ok' | 'roundTripMs' | 'error'> {
  if (connected) return { ok: true, roundTripMs: Number(roundTripUs) / 1000 };
  // The system names the address, too.
  const reason = error.replace(` ${address}`, '') || 'no connection';
  const message = `${address}: ${reason}`;
  return {
    ok: false,
    error: { code: 'SCI_VERIFY_FAILED', message, suggestions },
  };
}

/** The result at a target. Its hop names the address. */
function atTarget(result: ConnectResult): ReturnType<typeof outcome> {
  const { error, ...rest } = outcome(result);
  return error ? { ...rest, error: { ...error, message: error.message.slice(result.address.length + 2) } } : rest;
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
        error: { code: 'SCI_PROXY_UNSUPPORTED', message: 'the proxy does not count connections', suggestions: [] },
      };
    }
    const ended = signal ? AbortSignal.any([signal, hangUp.signal]) : hangUp.signal;
    const held = to.connectListener(uid, HOLD_MS, { signal: ended });
    const refusal = held.then(({ results }) => results.map((result) => outcome(result)).find(({ ok }) => !ok)?.error);
    const seen = poll(
      async () => ((await arrived(uid, from, signal)) ?? 0) > before || undefined,
      { timeoutMs: ARRIVAL_MS, signal: ended },
      () =>
        new SciStreamError(
          'SCI_VERIFY_FAILED',
          `No connection reached the inbound gateway within ${formatDuration(ARRIVAL_MS)}.`,
          {
            suggestions: [
              'Check that the outbound listeners accept your host, and that firewalls let the outbound gateway reach the inbound one.',
            ],
          },
        ),
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
