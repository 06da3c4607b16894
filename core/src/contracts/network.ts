import { isIP, isIPv4 } from 'node:net';
import type { Address } from './address.js';
import { quote, SciStreamError } from './errors.js';

/**
 * An IP address as four signed words of 32 bits. IPv4 is stored as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2). A socket treats both
 * forms alike, so a rule must too: otherwise the other form would bypass it.
 */
export interface Ip {
  readonly four: boolean;
  readonly words: readonly number[];
}

/** An IP network: all addresses with the same prefix. */
export interface Network extends Ip {
  readonly masks: readonly number[];
  /** The last of `words` and of `masks`, for {@link contains}. */
  readonly last: number;
  readonly lastMask: number;
  /** Length of the prefix in bits, 0 to 128; 96 more than written for IPv4. */
  readonly prefix: number;
  /** The text that was parsed. */
  readonly text: string;
}

/** Parses an IP literal without brackets and zone. Returns undefined for any other text. */
export function parseIp(text: string): Ip | undefined {
  if (isIP(text) === 0 || text.includes('%')) return undefined;
  const words = isIPv4(text) ? [0, 0, 0xffff, wordOf(text)] : wordsOf(text);
  return { four: words[0] === 0 && words[1] === 0 && words[2] === 0xffff, words };
}

/** The source of a peer for limits by address: with IPv6 its /64 network, because one host can use all its addresses. */
export function sourceOf(address: string): string {
  const ip = parseIp(address);
  return !ip || ip.four ? address.replace(/^::ffff:(?=\d+\.)/i, '') : `${ip.words.slice(0, 2).map(hex).join(':')}::/64`;
}

/** Parses `10.0.0.0/8`, `2001:db8::/32` or a single address. @throws SCI_CONFIG_INVALID, also if host bits are set */
export function parseNetwork(text: string): Network {
  const [, host = '', length] = /^([^/]*)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text) ?? [];
  const ip = parseIp(host);
  const bits = isIPv4(host) ? 32 : 128;
  const own = length === undefined ? bits : Number(length);
  if (!ip || own > bits) throw invalid(text, 'is not a network', 'Write it like 10.0.1.0/24 or 2001:db8::/32.');
  const prefix = own + 128 - bits;
  const masks = [0, 1, 2, 3].map((i) => mask(Math.min(32, Math.max(0, prefix - 32 * i))));
  const four = ip.four && prefix >= 96;
  const network = { four, words: ip.words, masks, last: ip.words[3] ?? 0, lastMask: masks[3] ?? 0, prefix, text };
  if (!contains(network, { four, words: ip.words })) {
    throw invalid(
      text,
      `has bits after its prefix of ${own}`,
      `Write the first address of the network, or ${host}/${bits} for one address.`,
    );
  }
  return network;
}

/**
 * Formats a network in the form that every proxy reads: dotted IPv4 or hexadecimal IPv6, always with a prefix.
 * Inverse of {@link parseNetwork}.
 */
export function formatNetwork({ four, words, prefix }: Network): string {
  const last = words[3] ?? 0;
  if (four) return `${[24, 16, 8, 0].map((bits) => (last >>> bits) & 255).join('.')}/${prefix - 96}`;
  return `${words.map(hex).join(':')}/${prefix}`;
}

/**
 * Parses networks and returns them in the form of {@link formatNetwork}, as in `sources` of a stream.
 * @throws SCI_CONFIG_INVALID
 */
export const parseSources = (texts: readonly string[]): readonly string[] =>
  texts.map((text) => formatNetwork(parseNetwork(text)));

/** Returns true if the network contains the address. An IPv6 network, such as ::/0, contains no IPv4 address. */
export function contains(network: Network, ip: Ip): boolean {
  // Addresses outside mostly differ in the last word. This test first makes a scan of many networks twice as fast.
  if (((ip.words[3] ?? 0) & network.lastMask) !== network.last || network.four !== ip.four) return false;
  return network.four || network.words.every((word, i) => ((ip.words[i] ?? 0) & (network.masks[i] ?? 0)) === word);
}

/**
 * Addresses of this machine and its immediate environment. A rule has to name them; a wide network does not include
 * them.
 */
const SPECIAL: readonly (readonly [string, readonly Network[]])[] = (
  [
    ['a metadata service', ['169.254.169.254', 'fd00:ec2::254', 'fd20:ce::254', 'fd00:42::42']],
    // Alibaba, Azure and Oracle, which do not use link-local addresses.
    ['a metadata service', ['100.100.100.200', '168.63.129.16', '192.0.0.192']],
    ['an unspecified address', ['0.0.0.0/8', '::']],
    ['a loopback address', ['127.0.0.0/8', '::1']],
    ['a link-local address', ['169.254.0.0/16', 'fe80::/10']],
    ['a multicast or broadcast address', ['224.0.0.0/4', '255.255.255.255', 'ff00::/8']],
  ] as const
).map(([what, networks]) => [what, networks.map(parseNetwork)]);

/** Positions of the four IPv4 octets after a prefix of 48, 56, 64 or 96 bits (RFC 6052 §2.2 reserves octet 8). */
const AFTER_48 = [6, 7, 9, 10];
const AFTER_56 = [7, 9, 10, 11];
const AFTER_64 = [9, 10, 11, 12];
const AFTER_96 = [12, 13, 14, 15];

/**
 * IPv6 networks whose addresses embed an IPv4 address that a translator or tunnel sends to, with its possible
 * positions.
 */
const CARRIERS: readonly (readonly [Network, readonly (readonly number[])[]])[] = (
  [
    ['::/96', [AFTER_96]], // RFC 4291 §2.5.5.1
    ['::ffff:0:0:0/96', [AFTER_96]], // RFC 2765 §2.1
    ['64:ff9b::/96', [AFTER_96]], // RFC 6052 §2.1
    ['64:ff9b:1::/48', [AFTER_48, AFTER_56, AFTER_64, AFTER_96]], // RFC 8215: a site chooses the prefix length
    ['2002::/16', [[2, 3, 4, 5]]], // RFC 3056 §2
  ] as const
).map(([network, places]) => [parseNetwork(network), places]);

/**
 * Returns the kind of a special address, such as `a loopback address`, and the networks of that kind. Otherwise
 * undefined.
 * @param own Addresses of the gateway, each as a network of one address. They are special, too.
 */
export function specialOf(
  ip: Ip,
  own: readonly Network[] = [],
): { readonly what: string; readonly networks: readonly Network[] } | undefined {
  for (const [what, networks] of SPECIAL)
    if (networks.some((network) => contains(network, ip))) return { what, networks };
  const self = own.find((network) => contains(network, ip));
  if (self) return { what: 'an address of the gateway', networks: [self] };
  for (const carried of carriedBy(ip)) {
    const special = specialOf(carried, own);
    if (special) return special;
  }
  return undefined;
}

/**
 * Returns the addresses that packets to an IP literal may reach: the literal, and an IPv4 address that it embeds. Empty for
 * a name and for an address with a zone.
 */
export function reachedBy(host: string): readonly Ip[] {
  const ip = parseIp(host);
  return ip ? [ip, ...carriedBy(ip)] : [];
}

/** Returns keys of the endpoints that an address reaches. Two notations of one endpoint have a key in common. */
export const endpointsOf = ({ host, port }: Address): readonly string[] =>
  reachedBy(host).map(({ words }) => `${words.join(' ')} ${port}`);

/** Returns true for 0.0.0.0 and :: in every notation. The kernel connects such a target to this machine. */
export const isUnspecified = (host: string): boolean =>
  reachedBy(host).some(({ four, words }) => four && words[3] === 0);

/** Returns the IPv4 addresses that an IPv6 address may embed. */
function carriedBy(ip: Ip): readonly Ip[] {
  const places = CARRIERS.find(([network]) => contains(network, ip))?.[1] ?? [];
  if (places.length === 0) return [];
  const octets = ip.words.flatMap((word) => [24, 16, 8, 0].map((bits) => (word >>> bits) & 255));
  const read = (place: readonly number[]): number => place.reduce((word, i) => (word << 8) | (octets[i] ?? 0), 0);
  // If several positions are possible: the embedded address is not 0.0.0.0, and only zeros follow it.
  const likely = places.filter(
    (place) => read(place) !== 0 && octets.slice((place[3] ?? 15) + 1).every((one) => one === 0),
  );
  const chosen = places.length === 1 || likely.length === 0 ? places : likely;
  return chosen.map((place) => ({ four: true, words: [0, 0, 0xffff, read(place)] }));
}

/** Returns true if one of the networks contains all of `inner`. */
export const isWithin = (inner: Network, networks: readonly Network[]): boolean =>
  networks.some((outer) => inner.prefix >= outer.prefix && contains(outer, inner));

function mask(bits: number): number {
  return bits === 0 ? 0 : -1 << (32 - bits);
}

function wordOf(four: string): number {
  return four.split('.').reduce((word, part) => (word << 8) | Number(part), 0);
}

function wordsOf(text: string): number[] {
  const six = text.replace(/[\d.]+$/, (end) => (end.includes('.') ? hex(wordOf(end)) : end));
  const [head = '', tail] = six.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const left = [...head];
  const right = [...(tail ?? [])];
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  const groups = [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16));
  return [0, 2, 4, 6].map((i) => ((groups[i] ?? 0) << 16) | (groups[i + 1] ?? 0));
}

function hex(word: number): string {
  return `${(word >>> 16).toString(16)}:${(word & 0xffff).toString(16)}`;
}

const invalid = (text: string, why: string, suggestion: string): SciStreamError =>
  new SciStreamError('SCI_CONFIG_INVALID', `${quote(text)} ${why}.`, { suggestions: [suggestion] });
