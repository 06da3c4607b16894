import { parseTransport } from '../../contracts/address.js';
import { quote, SciStreamError } from '../../contracts/errors.js';
import { parseRole, parseUid, type StreamTls, type StreamRecord } from '../../contracts/stream.js';

/** As `parseRate` has it; the number also stays exact on its way through JSON. */
const MAX_BITS_PER_SECOND = 1e15;

/** What `req` asks for, as it came over the wire. */
export interface StreamWish {
  readonly uid: string;
  readonly role: string;
  readonly connections: number;
  readonly legacyRate: number;
  readonly name: string;
  /** bit/s; 0 for none. */
  readonly bitsPerSecond: number;
  /** 0 for the most that is allowed. */
  readonly lifetimeMs: number;
  readonly proxy: string;
  readonly runtime: string;
  readonly gateway: string;
  readonly transport: string;
  /** Whether its listeners may change. */
  readonly movable?: boolean;
  /** As it came, not checked; absent: not encrypted. Secret. */
  readonly tls?: StreamTls | undefined;
}

/**
 * The record of a stream as it is asked for: nothing granted, nothing reserved, and on no gateway yet. It lives from now on.
 * @param limits Looked up at this moment, for they may change. `lifetimeMs` is also what is given where none is asked for.
 * @throws SCI_UID_INVALID, SCI_NAME_INVALID, SCI_ROLE_INVALID, SCI_CONNECTIONS_INVALID, SCI_RATE_INVALID,
 * SCI_LIFETIME_INVALID, SCI_USAGE
 */
export function parseWish(
  wish: StreamWish,
  owner: string,
  limits: { readonly connections: number; readonly lifetimeMs: number },
): StreamRecord {
  const now = Date.now();
  checkConnections(wish, limits.connections);
  checkRate(wish);
  return {
    uid: parseUid(wish.uid),
    version: 1,
    name: parseName(wish.name),
    role: parseRole(wish.role),
    state: 'reserving',
    owner,
    gateway: '',
    proxy: parseName(wish.proxy),
    runtime: parseName(wish.runtime),
    transport: parseTransport(wish.transport),
    encryption: wish.tls ? 'tls' : 'none',
    ...(wish.movable ? { movable: true } : {}),
    listeners: [],
    announced: [],
    targets: [],
    bitsPerSecond: wish.bitsPerSecond,
    rateEnforced: false,
    legacyRate: wish.legacyRate,
    createdAt: new Date(now).toISOString(),
    expiresAt: new Date(now + lifetimeOf(wish, limits.lifetimeMs)).toISOString(),
  };
}

function checkConnections({ connections }: StreamWish, most: number): void {
  if (Number.isInteger(connections) && connections >= 1 && connections <= most) return;
  throw new SciStreamError(
    'SCI_CONNECTIONS_INVALID',
    `${connections} connections are outside the limits of this control server.`,
    {
      suggestions: [`Request 1 to ${most} connections.`],
    },
  );
}

function checkRate({ bitsPerSecond }: StreamWish): void {
  if (bitsPerSecond <= MAX_BITS_PER_SECOND) return;
  throw new SciStreamError('SCI_RATE_INVALID', `${bitsPerSecond} bit/s exceed the maximum rate.`, {
    suggestions: [`Request at most ${MAX_BITS_PER_SECOND} bit/s.`],
  });
}

function lifetimeOf({ lifetimeMs: wanted }: StreamWish, most: number): number {
  if (wanted >= 0 && wanted <= most) return wanted || most;
  throw new SciStreamError('SCI_LIFETIME_INVALID', `A lifetime of ${wanted} ms exceeds the limit of ${most} ms.`, {
    suggestions: [`Request at most ${most / 3_600_000}h.`],
  });
}

/** Names are shown, logged and typed again: letters, digits, dot, dash and underscore; empty for none. @throws SCI_NAME_INVALID */
export function parseName(text: string): string {
  if (/^[A-Za-z0-9][\w.-]{0,63}$|^$/.test(text)) return text;
  throw new SciStreamError('SCI_NAME_INVALID', `${quote(text)} is not a valid stream name.`, {
    suggestions: ['Use up to 64 letters, digits, ".", "-" and "_", beginning with a letter or digit.'],
  });
}
