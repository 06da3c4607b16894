import type { Transport } from '../address.js';
import { quote, SciStreamError } from '../errors.js';
import type { StreamTls } from '../s2ds.js';

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

/** @throws SCI_RATE_INVALID when it is more than 1e15 bit/s */
export function checkRate(bitsPerSecond: number): void {
  if (bitsPerSecond <= MAX_BITS_PER_SECOND) return;
  throw new SciStreamError('SCI_RATE_INVALID', `${bitsPerSecond} bit/s are more than any gateway has.`, {
    suggestions: [`Ask for at most ${MAX_BITS_PER_SECOND} bit/s.`],
  });
}

/** @param most What is allowed, and given where none is asked for, ms. @throws SCI_LIFETIME_INVALID */
export function lifetimeOf({ lifetimeMs: wanted }: Pick<StreamWish, 'lifetimeMs'>, most: number): number {
  if (wanted >= 0 && wanted <= most) return wanted || most;
  throw new SciStreamError(
    'SCI_LIFETIME_INVALID',
    `A lifetime of ${wanted} ms is longer than the ${most} ms allowed here.`,
    { suggestions: [`Ask for at most ${most / 3_600_000}h.`] },
  );
}

/** Names are shown, logged and typed again: letters, digits, dot, dash and underscore; empty for none. @throws SCI_NAME_INVALID */
export function parseName(text: string): string {
  if (/^[A-Za-z0-9][\w.-]{0,63}$|^$/.test(text)) return text;
  throw new SciStreamError('SCI_NAME_INVALID', `${quote(text)} is not a name.`, {
    suggestions: ['Use up to 64 letters, digits, ".", "-" and "_", beginning with a letter or digit.'],
  });
}

/** @throws SCI_USAGE unless it is tcp, udp, or empty for tcp */
export function parseTransport(text: string): Transport {
  if (text === '' || text === 'tcp') return 'tcp';
  if (text === 'udp') return 'udp';
  throw new SciStreamError('SCI_USAGE', `Transport ${quote(text)} is neither tcp nor udp.`, {
    suggestions: ['Use tcp or udp.'],
  });
}
