import { createHash } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { z } from 'zod';
import { formatAddress, type Address, type Transport } from '../contracts/address.js';
import { SciStreamError } from '../contracts/errors.js';
import type { StreamTls } from '../contracts/stream.js';
import type { ControlClient } from './control-client.js';
import { AddressSchema, FingerprintSchema } from './endpoint.js';
import type { Plan } from './setup.js';

const PREFIX = 'scistream';
const VERSION = '2';
/** Longest ticket text, characters. */
const MAX_TEXT = 8192;
/** Most that a ticket may hold when it is unpacked, bytes. */
const MAX_JSON = 65_536;
/** Digits of the checksum: enough to notice a damaged copy; it proves nothing about who wrote the ticket. */
const CHECKSUM_DIGITS = 8;
const COPY = 'Copy the whole line that "scistream stream up --inbound" printed.';

/**
 * What whoever opens the outbound side must know of the inbound side. With `tls` it is a secret, like a password: whoever
 * has it can connect to the inbound side, and pass for its consumers, until the stream ends. It gives no right at a
 * control server; those still ask who is calling.
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
  /** Credentials of the outbound side; absent where the stream is not encrypted. */
  readonly tls?: StreamTls | undefined;
}

/** Base64 of the DER that stands in a PEM file: what does not vary in PEM need not travel. */
const der = (label: string) =>
  z
    .base64()
    .min(1)
    .max(4096)
    .transform((base64) => `-----BEGIN ${label}-----\n${base64.replace(/.{1,64}/g, '$&\n')}-----END ${label}-----\n`);

const TlsSchema = z.strictObject({
  certificate: der('CERTIFICATE'),
  key: der('PRIVATE KEY'),
  ca: der('CERTIFICATE'),
  peer: z.string().max(253),
});

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
  tls: TlsSchema.optional(),
});

/**
 * One line that can be handed to whoever opens the outbound side: `scistream2.<base64url deflated JSON>.<checksum>`; with
 * credentials and one listener about 1500 characters.
 * @throws SCI_TICKET_INVALID when it would be longer than 8 KiB: a stream with several hundred listeners.
 */
export function formatTicket(ticket: Ticket): string {
  const { tls } = ticket;
  const json = {
    ...ticket,
    s2cs: formatAddress(ticket.s2cs),
    listeners: ticket.listeners.map(formatAddress),
    tls: tls && { ...tls, certificate: toDer(tls.certificate), key: toDer(tls.key), ca: toDer(tls.ca) },
  };
  const body = deflateRawSync(JSON.stringify(json), { level: 9 }).toString('base64url');
  const text = `${PREFIX}${VERSION}.${body}.${checksum(body)}`;
  if (text.length > MAX_TEXT) throw invalid(`is ${text.length} characters long, more than ${MAX_TEXT}`);
  return text;
}

/** @param tls Of the outbound side. @throws SCI_TICKET_INVALID when there are too many listeners for one. */
export function ticketOf(
  plan: Plan,
  from: ControlClient,
  listeners: readonly Address[],
  expiresAt: string,
  tls: StreamTls | undefined,
): string {
  const { uid, name, transport, connections, bitsPerSecond } = plan;
  const inbound = { s2cs: from.endpoint.address, fingerprint: from.fingerprint, listeners, tls };
  return formatTicket({ uid, name, ...inbound, transport, connections, bitsPerSecond, expiresAt });
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
  if (version === undefined) throw invalid(`does not begin with "${PREFIX}${VERSION}."`);
  if (version !== VERSION) {
    const where =
      Number(version) < Number(VERSION) ? 'on the machine that created the ticket, then create a new ticket' : 'here';
    throw invalid(`has version ${version}, but this program reads version ${VERSION}`, `Update SciStream ${where}.`);
  }
  if (rest.length > 0 || sum !== checksum(body)) throw invalid('is damaged or incomplete');
  const ticket = decode(body);
  if (Date.parse(ticket.expiresAt) <= now.getTime()) {
    throw invalid(
      `expired at ${ticket.expiresAt}`,
      'Ask for a new ticket: the stream has ended, or one of the clocks is wrong.',
    );
  }
  return ticket;
}

function decode(body: string): Ticket {
  try {
    const json = inflateRawSync(Buffer.from(body, 'base64url'), { maxOutputLength: MAX_JSON }).toString('utf8');
    return TicketSchema.parse(JSON.parse(json));
  } catch {
    // Without the cause, which may quote what was read, and that is secret.
    throw invalid('does not contain valid ticket data');
  }
}

const toDer = (pem: string): string => pem.replace(/-----[^-]+-----|\s/g, '');

const checksum = (body: string): string => createHash('sha256').update(body).digest('hex').slice(0, CHECKSUM_DIGITS);

function invalid(why: string, suggestion = COPY): SciStreamError {
  return new SciStreamError('SCI_TICKET_INVALID', `The ticket ${why}.`, { suggestions: [suggestion] });
}
