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

/** Formats a duration in ms for output, exact to three digits: `250 ms`, `1.5 s`, `90 min`, `24 h`, `3 days`. */
export function formatDuration(duration: number): string {
  const ms = Math.round(duration);
  if (ms < 1000) return `${ms} ms`;
  const units = [
    ['s', 1000],
    ['min', 60_000],
    ['h', 3_600_000],
    ['days', 86_400_000],
  ] as const;
  // A larger unit from twice its size on: 90 s and 24 h read better than 1.5 min and 1 day.
  const [unit, size] = units.findLast(([, size]) => ms >= 2 * size) ?? units[0];
  const value = ms / size;
  return `${Number.isInteger(value) ? value : Number(value.toPrecision(3))} ${unit}`;
}

/** A number and its noun for output: `1 stream`, `2 streams`. The plural has an added `s`. */
export const formatCount = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;

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

/** Formats a rate in bit/s for output: `20 Gb/s`, `20 bit/s`. */
export const formatRate = (bitsPerSecond: number): string =>
  prefixed(bitsPerSecond, ['bit/s', 'kb/s', 'Mb/s', 'Gb/s', 'Tb/s']);

function prefixed(number: number, units: readonly string[]): string {
  let value = number;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${Number(value.toPrecision(3))} ${units[unit] ?? ''}`;
}

/** Formats a size in bytes for output, with decimal prefixes: `1.2 GB`. */
export const formatBytes = (bytes: number): string => prefixed(bytes, ['B', 'kB', 'MB', 'GB', 'TB']);
