import { createHash } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { z } from 'zod';
import { formatAddress, type Address, type Transport } from '../contracts/address.js';
import { SciStreamError } from '../contracts/errors.js';
import { parseProbeAnswer, type ProbeAnswer, type StreamTls } from '../contracts/stream.js';
import type { ControlClient } from './control-client.js';
import { AddressSchema, FingerprintSchema, resolveEndpoint, type Endpoint, type TrustSettings } from './endpoint.js';
import type { Plan, SidePlan } from './plan.js';

const PREFIX = 'scistream';
const VERSION = '2';
/** Maximum length of a ticket, characters. */
const MAX_TEXT = 8192;
/** Maximum size of the unpacked content, bytes. */
const MAX_JSON = 65_536;
/** Digits of the checksum. It detects a damaged copy, and proves nothing about the author. */
const CHECKSUM_DIGITS = 8;
const COPY = 'Copy the complete line that "scistream stream up --inbound" printed.';

/**
 * The inbound side, as another user needs it to create the outbound side. With `tls` a ticket is a secret, like a
 * password: until the stream ends, its holder can connect to the inbound side and act as its outbound side. It grants
 * no rights at a control server, which still authenticates the caller.
 */
export interface Ticket {
  readonly uid: string;
  readonly name: string;
  /** Control server of the inbound side. */
  readonly s2cs: Address;
  /** Fingerprint of the certificate of that server; absent for a server without TLS. */
  readonly fingerprint?: string | undefined;
  /** Listeners of the inbound side: the targets of the outbound side. */
  readonly listeners: readonly Address[];
  readonly transport: Transport;
  /** Number of listeners of the outbound side. */
  readonly connections: number;
  /** Reserved rate, bit/s; 0: none. */
  readonly bitsPerSecond: number;
  /** ISO 8601 UTC: end of the lifetime of the inbound side. */
  readonly expiresAt: string;
  /** Credentials of the outbound side; absent without encryption. */
  readonly tls?: StreamTls | undefined;
  /**
   * How the listeners answer a probe of the outbound gateway; absent if they do not, and in a ticket of an earlier
   * version.
   */
  readonly probe?: ProbeAnswer | undefined;
}

/** An existing inbound side, as far as the caller knows it: a ticket, or only its listeners. */
export type InboundSide = Pick<Ticket, 'listeners'> & Partial<Ticket>;

/** Base64 of the DER in a PEM file, to leave out the constant lines of PEM. */
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

/** How listeners answer a probe. A kind that this version does not know counts as none. */
export const ProbeSchema = z.string().max(16).transform(parseProbeAnswer);

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
  probe: ProbeSchema.optional(),
});

/**
 * Formats a ticket as one line: `scistream2.<base64url deflated JSON>.<checksum>`. With credentials and one listener it
 * has about 1500 characters.
 * @throws SCI_TICKET_INVALID when it exceeds 8 KiB, which happens with several hundred listeners.
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

/**
 * Creates the ticket of an inbound side.
 * @param side The inbound side as its control server reports it.
 * @param tls Credentials of the outbound side.
 * @throws SCI_TICKET_INVALID when the ticket has too many listeners.
 */
export function ticketOf(
  plan: Plan,
  from: ControlClient,
  listeners: readonly Address[],
  { expiresAt, probe }: { readonly expiresAt: string; readonly probe?: ProbeAnswer | undefined },
  tls: StreamTls | undefined,
): string {
  const { uid, name, transport, connections, bitsPerSecond } = plan;
  const inbound = { s2cs: from.endpoint.address, fingerprint: from.fingerprint, listeners, tls, probe };
  return formatTicket({ uid, name, ...inbound, transport, connections, bitsPerSecond, expiresAt });
}

/**
 * Parses a ticket as pasted. It ignores white space, such as the line breaks of a mail.
 * @throws SCI_TICKET_INVALID when the ticket is damaged, expired or of another version.
 */
export function parseTicket(pasted: string, now: Date = new Date()): Ticket {
  if (pasted.length > 2 * MAX_TEXT) throw invalid(`is ${pasted.length} characters long, more than ${MAX_TEXT}`);
  const text = pasted.replace(/\s+/g, '');
  if (text.length > MAX_TEXT) throw invalid(`is ${text.length} characters long, more than ${MAX_TEXT}`);
  const [head = '', body = '', sum, ...rest] = text.split('.');
  const version = /^scistream(\d{1,6})$/.exec(head)?.[1];
  if (version === undefined) throw invalid(`does not start with "${PREFIX}${VERSION}."`);
  if (version !== VERSION) {
    const where =
      Number(version) < Number(VERSION) ? 'where the ticket was made, and create a new ticket there' : 'here';
    throw invalid(`has version ${version}, but this program reads version ${VERSION}`, `Upgrade SciStream ${where}.`);
  }
  if (rest.length > 0 || sum !== checksum(body)) throw invalid('is damaged or incomplete');
  const ticket = decode(body);
  if (Date.parse(ticket.expiresAt) <= now.getTime()) {
    throw invalid(
      `expired at ${ticket.expiresAt}`,
      'Ask for a new one, because its stream has ended. If the stream still runs, check the clock of this machine.',
    );
  }
  return ticket;
}

/** The defaults of the outbound side. Encryption is not among them: both sides state it, see {@link mustAgree}. */
export function fromTicket({ name, connections, listeners, bitsPerSecond, transport }: InboundSide): SidePlan {
  return { name, connections: connections ?? listeners.length, bitsPerSecond, transport };
}

/** @throws SCI_USAGE when only one of the two sides is encrypted. */
export function mustAgree({ encryption }: Plan, { tls }: InboundSide): void {
  if ((encryption === 'tls') === (tls !== undefined)) return;
  const [what, suggestion] = tls
    ? ['The inbound side is encrypted, and the outbound side is not', 'Remove --encryption none.']
    : [
        'The outbound side is encrypted, and the inbound side is not or its credentials are missing',
        'Use a ticket from an encrypted inbound side, or add --encryption none.',
      ];
  throw new SciStreamError('SCI_USAGE', `${what}.`, { suggestions: [suggestion] });
}

/**
 * The control server of a ticket, pinned to the certificate that the ticket names. It never receives a token of this
 * user, because the author of the ticket chose the server.
 */
export function peerEndpoint(s2cs: Address, fingerprint: string | undefined, trust: TrustSettings = {}): Endpoint {
  return resolveEndpoint(formatAddress(s2cs), {}, fingerprint ? { fingerprint } : { insecure: trust.insecure });
}

function decode(body: string): Ticket {
  try {
    const json = inflateRawSync(Buffer.from(body, 'base64url'), { maxOutputLength: MAX_JSON }).toString('utf8');
    return TicketSchema.parse(JSON.parse(json));
  } catch {
    // The cause is left out, because it can quote the content, which is secret.
    throw invalid('has invalid content');
  }
}

const toDer = (pem: string): string => pem.replace(/-----[^-]+-----|\s/g, '');

const checksum = (body: string): string => createHash('sha256').update(body).digest('hex').slice(0, CHECKSUM_DIGITS);

function invalid(why: string, suggestion = COPY): SciStreamError {
  return new SciStreamError('SCI_TICKET_INVALID', `The ticket ${why}.`, { suggestions: [suggestion] });
}
