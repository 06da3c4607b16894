import { quote, SciStreamError } from './errors.js';

const DURATIONS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const RATES: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 };

/**
 * Parses a duration such as `30s`, `8h`, `1.5h` or `250ms` (units ms, s, m, h, d).
 * @returns Whole milliseconds, at least 1.
 * @throws SCI_DURATION_INVALID
 */
export function parseDuration(text: string): number {
  const match = /^(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)$/.exec(text);
  const ms = match ? Math.round(Number(match[1]) * (DURATIONS[match[2] ?? ''] ?? NaN)) : NaN;
  if (Number.isSafeInteger(ms) && ms > 0) return ms;
  throw new SciStreamError('SCI_DURATION_INVALID', `${quote(text)} is not a duration.`, {
    suggestions: ['Write a number with the unit ms, s, m, h or d, for example 30s or 8h.'],
  });
}

/**
 * Parses a rate such as `20Gbps`, `500Mbps` or plain bit/s, with decimal prefixes in either case. Rejects bytes
 * (`GBps`).
 * @returns Whole bit/s, 1 to 1e15.
 * @throws SCI_RATE_INVALID
 */
export function parseRate(text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,6})?) ?([kKmMgGtT]?)(?:bps|bit\/s)?$/.exec(text);
  const rate = match ? Math.round(Number(match[1]) * (RATES[(match[2] ?? '').toLowerCase()] ?? NaN)) : NaN;
  if (rate >= 1 && rate <= 1e15) return rate;
  throw new SciStreamError('SCI_RATE_INVALID', `${quote(text)} is not a rate.`, {
    suggestions: ['Write a number with the unit bps, kbps, Mbps, Gbps or Tbps, for example 20Gbps.'],
  });
}

/** Formats a rate in bit/s for output: `20 Gb/s`. */
export function formatRate(bitsPerSecond: number): string {
  const units = ['b/s', 'kb/s', 'Mb/s', 'Gb/s', 'Tb/s'];
  let value = bitsPerSecond;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${Number(value.toPrecision(3))} ${units[unit] ?? ''}`;
}

/** Formats a size in bytes for output, with decimal prefixes: `1.2 GB`. */
export function formatBytes(bytes: number): string {
  return formatRate(bytes).replace('b/s', 'B');
}
