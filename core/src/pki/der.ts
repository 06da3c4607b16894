import { Buffer } from 'node:buffer';

/**
 * The part of DER (X.690) that our certificates need. Encodes only. A general library would take 150 ms to load, which
 * every `stream up` would pay.
 */
function element(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const { length } = Buffer.concat(content);
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...size), ...content]);
}

export const sequence = (...content: readonly Uint8Array[]): Buffer => element(0x30, ...content);
export const set = (...content: readonly Uint8Array[]): Buffer => element(0x31, ...content);
export const octets = (content: Uint8Array): Buffer => element(0x04, content);
export const boolean = (value: boolean): Buffer => element(0x01, Buffer.of(value ? 0xff : 0));
/** @param value Big-endian; its first bit is the sign. */
export const integer = (value: Uint8Array): Buffer => element(0x02, value);
/** @param unused Number of unused bits at the end */
export const bits = (content: Uint8Array, unused = 0): Buffer => element(0x03, Buffer.of(unused), content);
export const utf8 = (text: string): Buffer => element(0x0c, Buffer.from(text));
/** Explicit tag `[number]` around complete elements. */
export const explicit = (number: number, ...content: readonly Uint8Array[]): Buffer =>
  element(0xa0 | number, ...content);
/** Implicit tag `[number]` instead of the tag of a string. */
export const implicit = (number: number, content: Uint8Array): Buffer => element(0x80 | number, content);

/** @param dotted Such as 2.5.29.17. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  return element(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

function base128(number: number): readonly number[] {
  const digits = [number & 0x7f];
  for (let left = number >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80);
  return digits;
}

/** Time in whole seconds, with a two-digit year until 2049 (RFC 5280 section 4.1.2.5). */
export function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/\.\d+|[-:T]/g, '');
  return date.getUTCFullYear() < 2050
    ? element(0x17, Buffer.from(digits.slice(2)))
    : element(0x18, Buffer.from(digits));
}
