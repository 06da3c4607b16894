import { isIP, isIPv4 } from 'node:net';
import { quote, SciStreamError } from '../errors.js';

/**
 * An IP address as four words of 32 bits. IPv4 is kept as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2), because a socket treats
 * the two alike: whoever writes one form must not get what the other is refused.
 */
export interface Ip {
  readonly four: boolean;
  readonly words: readonly number[];
}

/** All addresses that begin alike. */
export interface Network extends Ip {
  readonly masks: readonly number[];
  /** Of 128 bits. */
  readonly prefix: number;
  /** As it was written. */
  readonly text: string;
}

/** @returns undefined unless it is an IP literal without brackets and zone */
export function parseIp(text: string): Ip | undefined {
  if (isIP(text) === 0 || text.includes('%')) return undefined;
  const words = isIPv4(text) ? [0, 0, 0xffff, wordOf(text)] : wordsOf(text);
  return { four: words[0] === 0 && words[1] === 0 && words[2] === 0xffff, words };
}

/** Parses `10.0.0.0/8`, `2001:db8::/32` or a single address. @throws SCI_CONFIG_INVALID, also for bits behind the prefix */
export function parseNetwork(text: string): Network {
  const [, host = '', length] = /^([^/]*)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text) ?? [];
  const ip = parseIp(host);
  const bits = isIPv4(host) ? 32 : 128;
  const own = length === undefined ? bits : Number(length);
  if (!ip || own > bits) throw invalid(text, 'is not a network', 'Write for example 10.0.1.0/24, 2001:db8::/32.');
  const prefix = own + 128 - bits;
  const masks = [0, 1, 2, 3].map((i) => mask(Math.min(32, Math.max(0, prefix - 32 * i))));
  const four = ip.four && prefix >= 96;
  const network = { four, words: ip.words, masks, prefix, text };
  if (!contains(network, { four, words: ip.words })) {
    throw invalid(
      text,
      `has bits behind its prefix of ${own}`,
      `Write the address of the network, or ${host}/${bits}.`,
    );
  }
  return network;
}

/**
 * A network as every program understands it: IPv4 dotted, IPv6 in hexadecimal, always with a prefix.
 * What `parseNetwork` makes of it is the same network.
 */
export function formatNetwork({ four, words, prefix }: Network): string {
  const last = words[3] ?? 0;
  if (four) return `${[24, 16, 8, 0].map((bits) => (last >>> bits) & 255).join('.')}/${prefix - 96}`;
  return `${words.map(hex).join(':')}/${prefix}`;
}

/** @returns canonical (`formatNetwork`), as streams carry them @throws SCI_CONFIG_INVALID */
export const parseSources = (texts: readonly string[]): readonly string[] =>
  texts.map((text) => formatNetwork(parseNetwork(text)));

/** Whether an address is in a network. A network of IPv6 addresses, such as ::/0, contains no IPv4 address. */
export function contains({ four, words, masks }: Network, ip: Ip): boolean {
  if (four !== ip.four) return false;
  // The first three words of every IPv4 address are the same.
  for (let i = four ? 3 : 0; i < 4; i += 1) {
    if (((ip.words[i] ?? 0) & (masks[i] ?? 0)) >>> 0 !== words[i]) return false;
  }
  return true;
}

/** Addresses that a wide network does not mean, because they lead back into this machine or its surroundings. */
const SPECIAL: readonly (readonly [string, readonly Network[]])[] = (
  [
    ['a metadata service', ['169.254.169.254', 'fd00:ec2::254']],
    ['an unspecified address', ['0.0.0.0/8', '::']],
    ['a loopback address', ['127.0.0.0/8', '::1']],
    ['a link-local address', ['169.254.0.0/16', 'fe80::/10']],
    ['a multicast or broadcast address', ['224.0.0.0/4', '255.255.255.255', 'ff00::/8']],
  ] as const
).map(([what, networks]) => [what, networks.map(parseNetwork)]);

/** IPv6 that carries an IPv4 address: which word holds it. RFC 4291 §2.5.5.1, RFC 6052 §2.1. */
const CARRIERS: readonly Network[] = ['::/96', '64:ff9b::/96'].map(parseNetwork);

/** What is special about an address, in words, and the networks that name it; undefined for an ordinary one. */
export function specialOf(ip: Ip): { readonly what: string; readonly networks: readonly Network[] } | undefined {
  for (const [what, networks] of SPECIAL)
    if (networks.some((network) => contains(network, ip))) return { what, networks };
  if (!CARRIERS.some((carrier) => contains(carrier, ip))) return undefined;
  return specialOf({ four: true, words: [0, 0, 0xffff, ip.words[3] ?? 0] });
}

/** Whether all of `inner` is in one of the networks. */
export const isWithin = (inner: Network, networks: readonly Network[]): boolean =>
  networks.some((outer) => inner.prefix >= outer.prefix && contains(outer, inner));

function mask(bits: number): number {
  return bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0;
}

function wordOf(four: string): number {
  return four.split('.').reduce((word, part) => word * 256 + Number(part), 0);
}

function wordsOf(text: string): number[] {
  const six = text.replace(/[\d.]+$/, (end) => (end.includes('.') ? hex(wordOf(end)) : end));
  const [head = '', tail] = six.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const left = [...head];
  const right = [...(tail ?? [])];
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  const groups = [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16));
  return [0, 2, 4, 6].map((i) => (groups[i] ?? 0) * 65536 + (groups[i + 1] ?? 0));
}

function hex(word: number): string {
  return `${(word >>> 16).toString(16)}:${(word & 0xffff).toString(16)}`;
}

const invalid = (text: string, why: string, suggestion: string): SciStreamError =>
  new SciStreamError('SCI_CONFIG_INVALID', `${quote(text)} ${why}.`, { suggestions: [suggestion] });
