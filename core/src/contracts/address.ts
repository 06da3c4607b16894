import { isIP, isIPv6 } from 'node:net';
import { quote, SciStreamError } from './errors.js';

/** Longest `host:port` text, characters: a DNS name (RFC 1035 §2.3.4: 253 characters), a colon, five digits. */
const MAX_TEXT = 260;

/** One label of a host name (RFC 1123 §2.1). Underscores are accepted because local DNS zones use them. */
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i;

/** A TCP or UDP endpoint. `host` is a host name or an IP literal without brackets; `port` is 1 to 65535. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Maximum number of addresses of one {@link Target}. */
export const MAX_TARGET_ADDRESSES = 8;

/** An address to connect to. A host name that resolved to several addresses has the others as fallbacks. */
export interface Target extends Address {
  /** Further IP literals of the same host, in the order in which a proxy tries them. Absent: none. */
  readonly fallbacks?: readonly string[];
}

/** Makes a target of the addresses of a host, at most the first {@link MAX_TARGET_ADDRESSES}, each once. */
export function targetOf([host, ...others]: readonly [string, ...string[]], port: number): Target {
  const fallbacks = [...new Set(others)].filter((other) => other !== host).slice(0, MAX_TARGET_ADDRESSES - 1);
  return fallbacks.length > 0 ? { host, port, fallbacks } : { host, port };
}

/** Returns all addresses of a target, the preferred one first. */
export const addressesOf = ({ host, port, fallbacks = [] }: Target): readonly Address[] =>
  [host, ...fallbacks].map((one) => ({ host: one, port }));

/** The protocol of the data of a stream. */
export type Transport = 'tcp' | 'udp';

const SUGGESTION = 'Write host:port, for example 10.0.1.5:5001, [2001:db8::5]:5001 or detector.example:5001.';

function invalid(text: unknown, why: string, field: string): SciStreamError {
  return new SciStreamError('SCI_ADDRESS_INVALID', `${field} ${quote(text)} is not host:port: ${why}.`, {
    suggestions: [SUGGESTION],
  });
}

/** Returns true for an IP literal without brackets and zone, and for a well-formed host name. Does not resolve it. */
export function isHost(host: string): boolean {
  if (isIP(host) !== 0) return !host.includes('%');
  if (host.length === 0 || host.length > 253 || /^[\d.]+$/.test(host)) return false;
  return host.split('.').every((label) => LABEL.test(label));
}

/** Parses a port, 1 to 65535, without sign, space or leading zeros. Returns undefined for any other text. */
export function parsePort(text: string): number | undefined {
  if (!/^[1-9]\d{0,4}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65535 ? port : undefined;
}

/**
 * Parses `host:port` from a flag, a configuration file or a message. An IPv6 literal has brackets. The host is
 * converted to lower case.
 * @param field Subject of the error message, such as `Target`.
 * @throws SCI_ADDRESS_INVALID with the text and the reason
 */
export function parseAddress(text: string, field = 'Address'): Address {
  if (text.length > MAX_TEXT) throw invalid(text, `it has ${text.length} characters, more than ${MAX_TEXT}`, field);
  const match = /^(?:\[([^[\]]*)\]|([^[\]:]*)):([^:]*)$/.exec(text);
  if (!match) throw invalid(text, 'it must be one host, a colon and a port', field);
  const [, bracketed, plain, portText] = match;
  const host = bracketed ?? plain ?? '';
  if (bracketed === undefined ? !isHost(host) || isIPv6(host) : !isIPv6(host) || host.includes('%')) {
    throw invalid(text, `${quote(host)} is not a host name or IP address`, field);
  }
  const port = parsePort(portText ?? '');
  if (port === undefined) throw invalid(text, `the port must be 1 to 65535, not ${quote(portText)}`, field);
  return { host: host.toLowerCase(), port };
}

/** Formats an address as `host:port`, with brackets around IPv6 (RFC 3986 §3.2.2). Inverse of {@link parseAddress}. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Formats a target with all its addresses, such as `10.0.0.1:5000 or 10.0.0.2:5000`. */
export const formatTarget = (target: Target): string => addressesOf(target).map(formatAddress).join(' or ');

/** Returns true if only this machine can reach the host: 127.0.0.0/8, ::1 and `localhost`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** Parses a transport. An empty text means tcp. @throws SCI_USAGE for anything but `tcp`, `udp` and the empty text */
export function parseTransport(text: string): Transport {
  if (text === '' || text === 'tcp') return 'tcp';
  if (text === 'udp') return 'udp';
  throw new SciStreamError('SCI_USAGE', `Transport ${quote(text)} is neither tcp nor udp.`, {
    suggestions: ['Use tcp or udp.'],
  });
}
