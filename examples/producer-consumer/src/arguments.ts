import type { Address } from './address.js';

/** The command line is invalid; the message is a sentence for the user. The program exits with status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const BYTES: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
};
const MILLISECONDS: Readonly<Record<string, number>> = { ms: 1, s: 1e3, m: 60e3, h: 3600e3 };

/**
 * Addresses from a repeatable flag with comma-separated values.
 * @param lowestPort 0 if the system may choose a port, else 1. @throws UsageError for an empty list or an invalid
 * address
 */
export function parseAddresses(flag: string, values: readonly string[] | undefined, lowestPort: 0 | 1): Address[] {
  const texts = (values ?? []).flatMap((value) => value.split(','));
  if (texts.length === 0) throw new UsageError(`${flag} is missing. Set host:port, for example 127.0.0.1:5001.`);
  return texts.map((text) => {
    const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
    const host = bracketed ?? plain;
    const port = Number(digits);
    if (host === undefined || !(port >= lowestPort && port <= 65535)) {
      throw new UsageError(
        `${flag} "${text}" is not host:port with a port from ${lowestPort} to 65535. Use 127.0.0.1:5001 or [::1]:5001.`,
      );
    }
    return { host, port };
  });
}

/** Parses a size in bytes, 1 to 2^30, such as `4096`, `64KiB`, `1MB`. @throws UsageError */
export function parseSize(flag: string, text: string): number {
  const bytes = parseQuantity(text, { '': 1, ...BYTES });
  if (!Number.isInteger(bytes) || bytes < 1 || bytes > 2 ** 30) {
    throw new UsageError(`${flag} "${text}" is not a size from 1 B to 1 GiB. Use 1MiB, 64KiB or 500kB.`);
  }
  return bytes;
}

/** Parses a duration in ms, 1 ms to 24 days, such as `500ms`, `30s`, `5m`. @throws UsageError */
export function parseDuration(flag: string, text: string): number {
  const ms = parseQuantity(text, MILLISECONDS);
  if (!(ms >= 1 && ms < 2 ** 31)) {
    throw new UsageError(`${flag} "${text}" is not a duration from 1 ms to 24 days. Use 30s, 500ms or 5m.`);
  }
  return ms;
}

/** Parses a whole number from 0 to `highest`. @throws UsageError */
export function parseWhole(flag: string, text: string, highest: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= highest)) throw new UsageError(`${flag} "${text}" is not a whole number from 0 to ${highest}.`);
  return value;
}

/** Parses frames per second: 0, or 0.001 to 10^6. @throws UsageError */
export function parseRate(flag: string, text: string): number {
  const value = parseQuantity(text, { '': 1 });
  if (value !== 0 && !(value >= 0.001 && value <= 1e6)) {
    throw new UsageError(
      `${flag} "${text}" is not a number of frames per second: 0 for no limit, or 0.001 to 1000000.`,
    );
  }
  return value;
}

/** The number times the factor of its unit; NaN for invalid text. */
function parseQuantity(text: string, factors: Readonly<Record<string, number>>): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)([A-Za-z]*)$/.exec(text) ?? [];
  return number === undefined || unit === undefined ? Number.NaN : Number(number) * (factors[unit] ?? Number.NaN);
}
