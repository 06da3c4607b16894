import { isIP, isIPv6 } from 'node:net';
import { quote, SciStreamError } from './errors.js';

/** The longest text that can be host:port: a DNS name (RFC 1035: 253 octets), a colon and five digits. */
const MAX_TEXT = 260;

/** One label of a host name, RFC 1123 §2.1; underscores are tolerated because site-local DNS has them. */
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i;

/** A TCP or UDP end point. `host` is an IPv4 or IPv6 literal without brackets or a host name; `port` is 1 to 65535. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Whether data flows over TCP connections or UDP datagrams. */
export type Transport = 'tcp' | 'udp';

const SUGGESTION = 'Write host:port, for example 10.0.1.5:5001, [2001:db8::5]:5001 or detector.example:5001.';

function invalid(text: unknown, why: string, field: string): SciStreamError {
  return new SciStreamError('SCI_ADDRESS_INVALID', `${field} ${quote(text)} is not host:port: ${why}.`, {
    suggestions: [SUGGESTION],
  });
}

/** Whether `host` is an IP literal (no brackets, no zone) or a well-formed host name. */
export function isHost(host: string): boolean {
  if (isIP(host) !== 0) return !host.includes('%');
  if (host.length === 0 || host.length > 253 || /^[\d.]+$/.test(host)) return false;
  return host.split('.').every((label) => LABEL.test(label));
}

/** Parses a port, 1 to 65535, without sign, space or leading zeros. Returns undefined when it is none. */
export function parsePort(text: string): number | undefined {
  if (!/^[1-9]\d{0,4}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65535 ? port : undefined;
}

/**
 * Parses `host:port` (IPv6 in brackets) at an edge: a flag, a configuration file, a message.
 * @param field What the text stands for, used in the message.
 * @throws SCI_ADDRESS_INVALID with the offending text.
 */
export function parseAddress(text: string, field = 'Address'): Address {
  if (text.length > MAX_TEXT) throw invalid(text, `${text.length} characters are too many`, field);
  const match = /^(?:\[([^[\]]*)\]|([^[\]:]*)):([^:]*)$/.exec(text);
  if (!match) throw invalid(text, 'there must be one host, a colon and a port', field);
  const [, bracketed, plain, portText] = match;
  const host = bracketed ?? plain ?? '';
  if (bracketed === undefined ? !isHost(host) || isIPv6(host) : !isIPv6(host) || host.includes('%')) {
    throw invalid(text, `${quote(host)} is not a host`, field);
  }
  const port = parsePort(portText ?? '');
  if (port === undefined) throw invalid(text, `the port must be 1 to 65535, not ${quote(portText)}`, field);
  return { host: host.toLowerCase(), port };
}

/** `host:port`, IPv6 in brackets (RFC 3986 §3.2.2). The inverse of {@link parseAddress}. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether the host can only be reached from this machine: 127.0.0.0/8, ::1 or localhost. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** @throws SCI_USAGE unless it is tcp, udp, or empty for tcp */
export function parseTransport(text: string): Transport {
  if (text === '' || text === 'tcp') return 'tcp';
  if (text === 'udp') return 'udp';
  throw new SciStreamError('SCI_USAGE', `Transport ${quote(text)} is neither tcp nor udp.`, {
    suggestions: ['Use tcp or udp.'],
  });
}
