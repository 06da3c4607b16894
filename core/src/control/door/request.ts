import { parseTransport } from '../../contracts/address.js';
import { parseCredentials } from '../../contracts/credentials.js';
import { messageOf, quote, SciStreamError } from '../../contracts/errors.js';
import { parseSources } from '../../contracts/network.js';
import { parseUid, type StreamSpec, type StreamTls } from '../../contracts/stream.js';
import { formatDuration, formatRate } from '../../contracts/units.js';
import type { Request } from '../../wire/gen/scistream_pb.js';
import { parseRole } from '../../wire/stream-spec.js';
import type { Limits } from '../parts/settings.js';
import { mustNotBeInternal } from '../streams/own-uid.js';

/** The highest rate that `parseRate` accepts; also exact as a JSON number. */
const MAX_BITS_PER_SECOND = 1e15;

/** Most networks in `sources`. */
const MAX_SOURCES = 64;

/** A `req` after parsing. */
export interface ParsedRequest {
  readonly uid: string;
  readonly spec: StreamSpec;
  /** Credentials of this side; absent: not encrypted. Secret. */
  readonly tls?: StreamTls;
}

/**
 * Parses a `req`.
 * @param limits Read at this moment, because they may change.
 * @throws SCI_UID_INVALID, SCI_NAME_INVALID, SCI_ROLE_INVALID, SCI_CONNECTIONS_INVALID, SCI_RATE_INVALID,
 * SCI_LIFETIME_INVALID, SCI_CREDENTIALS_INVALID, SCI_USAGE
 */
export function parseRequest(request: Request, limits: Pick<Limits, 'connections' | 'lifetimeMs'>): ParsedRequest {
  const { uid, role, numConn, name, bitsPerSecond, lifetimeMs, proxy, runtime, gateway, transport, tls, movable } =
    request;
  const peerSources = parsePeerSources(request.sources);
  const credentials = tls && parseCredentials(tls);
  const spec: StreamSpec = {
    connections: parseConnections(numConn, limits.connections),
    bitsPerSecond: parseBitsPerSecond(Number(bitsPerSecond)),
    name: parseName(name),
    role: parseRole(role),
    transport: parseTransport(transport),
    lifetimeMs: parseLifetime(Number(lifetimeMs), limits.lifetimeMs),
    encryption: tls ? 'tls' : 'none',
    gateway,
    proxy: parseName(proxy),
    runtime: parseName(runtime),
    ...(movable && { movable }),
    ...(peerSources.length > 0 && { peerSources }),
  };
  mustNotBeInternal(parseUid(uid));
  return { uid, spec, ...(credentials && { tls: credentials }) };
}

function parsePeerSources(sources: readonly string[]): readonly string[] {
  if (sources.length > MAX_SOURCES) {
    throw new SciStreamError('SCI_USAGE', `${sources.length} sources are more than ${MAX_SOURCES}.`);
  }
  try {
    return parseSources(sources);
  } catch (cause) {
    throw new SciStreamError('SCI_USAGE', `The sources are invalid: ${messageOf(cause)}`, { cause });
  }
}

function parseConnections(connections: number, most: number): number {
  if (connections >= 1 && connections <= most) return connections;
  throw new SciStreamError(
    'SCI_CONNECTIONS_INVALID',
    `${connections} is outside the range of 1 to ${most} connections (num_conn).`,
    {
      suggestions: [`Request 1 to ${most}.`],
    },
  );
}

function parseBitsPerSecond(bitsPerSecond: number): number {
  if (bitsPerSecond <= MAX_BITS_PER_SECOND) return bitsPerSecond;
  throw new SciStreamError('SCI_RATE_INVALID', `${formatRate(bitsPerSecond)} is more than any gateway has.`, {
    suggestions: [`Request at most ${formatRate(MAX_BITS_PER_SECOND)}.`],
  });
}

function parseLifetime(lifetimeMs: number, most: number): number {
  if (lifetimeMs <= most) return lifetimeMs;
  throw new SciStreamError(
    'SCI_LIFETIME_INVALID',
    `A lifetime of ${formatDuration(lifetimeMs)} is longer than the limit of ${formatDuration(most)}.`,
    { suggestions: [`Request at most ${formatDuration(most)}.`] },
  );
}

/** Names are shown, logged and typed again: letters, digits, dot, dash and underscore; empty for none. @throws SCI_NAME_INVALID */
export function parseName(text: string): string {
  if (/^[A-Za-z0-9][\w.-]{0,63}$|^$/.test(text)) return text;
  throw new SciStreamError('SCI_NAME_INVALID', `${quote(text)} is not a valid stream name.`, {
    suggestions: ['Use up to 64 letters, digits, ".", "-" and "_", beginning with a letter or digit.'],
  });
}
