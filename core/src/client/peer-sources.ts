import { SciStreamError } from '../contracts/errors.js';
import { isWithin, parseNetwork, parseSources } from '../contracts/network.js';
import type { Stream } from '../wire/gen/scistream/v1/streams_pb.js';
import type { ControlClient } from './control-client.js';
import type { Plan } from './plan.js';

/** Deadline of the description of the other facility, ms. */
const DESCRIBE_MS = 5_000;
/** Most networks that a control server accepts. */
const MAX_SOURCES = 64;

/**
 * Finds the networks from which the inbound listeners of a stream accept connections. By default all gateways of the
 * outbound facility must report theirs, because it is not known yet which one will carry the stream, or carry it later.
 * @param to Control server of the outbound side; undefined if another user owns that side.
 * @returns Empty: all networks, also if the facility does not report them.
 */
export async function sourcesFor(
  { sources }: Pick<Plan, 'sources'>,
  to: Pick<ControlClient, 'describe'> | undefined,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (sources !== 'peer') return sources;
  try {
    const { gateways = [] } = (await to?.describe({ deadlineMs: DESCRIBE_MS, signal })) ?? {};
    if (gateways.some(({ advertiseSources }) => advertiseSources.length === 0)) return [];
    const all = [...new Set(gateways.flatMap(({ advertiseSources }) => parseSources(advertiseSources)))];
    return all.length <= MAX_SOURCES ? all : [];
  } catch {
    // An older control server, or one that is down: its own REQ reports that.
    return [];
  }
}

/**
 * Checks that the listeners accept connections only from networks that the user requested.
 * @throws SCI_PROXY_UNSUPPORTED
 */
export function mustAcceptOnly({ sources }: Stream, requested: readonly string[]): void {
  if (requested.length === 0) return;
  const networks = requested.map(parseNetwork);
  if (sources.length > 0 && sources.every((one) => isWithin(parseNetwork(one), networks))) return;
  const actual = sources.length > 0 ? sources.join(', ') : 'every network';
  throw new SciStreamError('SCI_PROXY_UNSUPPORTED', `The inbound listeners accept connections from ${actual}.`, {
    suggestions: [
      'Use --proxy relay, haproxy or nginx, and a control server that supports --sources.',
      'Or remove --sources.',
    ],
  });
}
