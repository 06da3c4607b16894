import { createHash } from 'node:crypto';
import { z } from 'zod';
import { formatAddress, type Address, type Transport } from '../address.js';
import { SciStreamError } from '../errors.js';
import { AddressSchema, FingerprintSchema } from './endpoint.js';

const PREFIX = 'scistream';
const VERSION = '1';
/** Longest ticket text, characters. */
const MAX_TEXT = 8192;
/** Digits of the checksum: enough to notice a damaged copy; it proves nothing about who wrote the ticket. */
const CHECKSUM_DIGITS = 8;

/**
 * What whoever opens the outbound side must know of the inbound side. Holds no secret and gives no right: the control
 * servers still ask who is calling.
 */
export interface Ticket {
  readonly uid: string;
  readonly name: string;
  /** Control server of the inbound side. */
  readonly s2cs: Address;
  /** Of that server's certificate; absent where it speaks plain text. */
  readonly fingerprint?: string | undefined;
  /** Listeners of the inbound side: the targets of the outbound side. */
  readonly listeners: readonly Address[];
  readonly transport: Transport;
  /** How many listeners the outbound side should have. */
  readonly connections: number;
  /** bit/s; 0 for none. */
  readonly bitsPerSecond: number;
  /** ISO 8601 UTC: when the inbound side ends. */
  readonly expiresAt: string;
}

const TicketSchema = z.strictObject({
  uid: z.string().regex(/^[A-Za-z0-9-]{8,64}$/),
  name: z.string().max(200),
  s2cs: AddressSchema,
  fingerprint: FingerprintSchema.optional(),
  listeners: z.array(AddressSchema).min(1).max(1024),
  transport: z.enum(['tcp', 'udp']),
  connections: z.int().min(1).max(1024),
  bitsPerSecond: z.int().min(0),
  expiresAt: z.iso.datetime(),
});

/**
 * One line that can be copied to whoever opens the outbound side: `scistream1.<base64url JSON>.<checksum>`.
 * @throws SCI_TICKET_INVALID when it would be longer than 8 KiB: a stream with several hundred listeners.
 */
export function formatTicket(ticket: Ticket): string {
  const json = { ...ticket, s2cs: formatAddress(ticket.s2cs), listeners: ticket.listeners.map(formatAddress) };
  const body = Buffer.from(JSON.stringify(json)).toString('base64url');
  const text = `${PREFIX}${VERSION}.${body}.${checksum(body)}`;
  if (text.length > MAX_TEXT) throw invalid(`is ${text.length} characters long, more than ${MAX_TEXT}`);
  return text;
}

/**
 * Reads a ticket as it was pasted; white space, such as line breaks of a mail, does not matter.
 * @throws SCI_TICKET_INVALID when it is damaged, of another version, or expired.
 */
export function parseTicket(pasted: string, now: Date = new Date()): Ticket {
  if (pasted.length > 2 * MAX_TEXT) throw invalid(`is ${pasted.length} characters long, more than ${MAX_TEXT}`);
  const text = pasted.replace(/\s+/g, '');
  if (text.length > MAX_TEXT) throw invalid(`is ${text.length} characters long, more than ${MAX_TEXT}`);
  const [head = '', body = '', sum, ...rest] = text.split('.');
  const version = /^scistream(\d{1,6})$/.exec(head)?.[1];
  if (version === undefined) throw invalid('does not begin with "scistream1."');
  if (version !== VERSION) throw invalid(`is of version ${version}, this program reads version ${VERSION}`);
  if (rest.length > 0 || sum !== checksum(body)) throw invalid('is damaged or was not copied completely');
  const ticket = decode(body);
  if (Date.parse(ticket.expiresAt) <= now.getTime()) throw invalid(`expired at ${ticket.expiresAt}`);
  return ticket;
}

function decode(body: string): Ticket {
  try {
    return TicketSchema.parse(JSON.parse(Buffer.from(body, 'base64url').toString('utf8')));
  } catch (cause) {
    throw invalid('does not hold what a ticket holds', cause);
  }
}

const checksum = (body: string): string => createHash('sha256').update(body).digest('hex').slice(0, CHECKSUM_DIGITS);

function invalid(why: string, cause?: unknown): SciStreamError {
  return new SciStreamError('SCI_TICKET_INVALID', `The ticket ${why}.`, {
    cause,
    suggestions: ['Copy the whole line that "scistream stream up --inbound" printed.'],
  });
}
