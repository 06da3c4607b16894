const pad = (value: number): string => String(value).padStart(2, '0');

const dateText = (at: Date): string => `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;

/** The same time in UTC, in the form that a log shows: `17:27 UTC`, with the date if it differs from the local one. */
function utcText(at: Date, cut: number): string {
  const [date = '', time = ''] = at.toISOString().split('T');
  return `${date === dateText(at) ? '' : `${date} `}${time.slice(0, cut)} UTC`;
}

/** A time of day, local and in UTC; only one of them where both are the same. @param cut Length of the time: 5 or 8. */
function timeText(at: Date, date: string, cut: 5 | 8): string {
  const utc = utcText(at, cut);
  if (at.getTimezoneOffset() === 0) return `${date}${utc}`;
  const local = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`.slice(0, cut);
  return `${date}${local} (${utc})`;
}

/** The expiry of a stream, `18:27 (17:27 UTC)`; with the date unless it is today. */
export function untilText(iso: string, now: Date = new Date()): string {
  const end = new Date(iso);
  if (Number.isNaN(end.getTime())) return 'unknown';
  return timeText(end, end.toDateString() === now.toDateString() ? '' : `${dateText(end)} `, 5);
}

const AGES = [
  ['days', 2 * 86_400, 86_400],
  ['h', 2 * 3_600, 3_600],
  ['min', 2 * 60, 60],
  ['s', 0, 1],
] as const;

/** Whole time since an ISO time, `47 min`; `-` if it is unknown. A larger unit is used from twice its size. */
export function ageText(iso: string, now: number): string {
  const seconds = Math.max(0, Math.floor((now - Date.parse(iso)) / 1000));
  const [unit, , size] = AGES.find(([, from]) => seconds >= from) ?? ['', 0, 0];
  return size > 0 ? `${Math.floor(seconds / size)} ${unit}` : '-';
}

/** The time of an event with date and seconds, `2026-05-07 18:27:03 (17:27:03 UTC)`. */
export function momentText(at: Date | string): string {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? String(at) : timeText(date, `${dateText(date)} `, 8);
}

/** `tomo (9f3c2a…)`, or the uid of a stream without a name. */
export const titleOf = ({ uid, name }: { readonly uid: string; readonly name: string }): string =>
  name ? `${name} (${uid.slice(0, 6)}…)` : uid;

/** `203.0.113.10:5100-5103` for consecutive ports, else all listeners. */
export function listenersText(listeners: readonly string[]): string {
  const parts = listeners
    .map((text) => /^(.*):(\d+)$/.exec(text))
    .map((match) => ({ host: match?.[1], port: Number(match?.[2]) }));
  const [first] = parts;
  const inRow = parts.every(({ host, port }, i) => host === first?.host && port === (first?.port ?? 0) + i);
  if (!first || parts.length < 2 || !inRow) return listeners.join(' ');
  return `${first.host ?? ''}:${first.port}-${first.port + parts.length - 1}`;
}

/** An error within other output: its message and code, then a line for each suggestion. */
export const errorText = ({ message, code, suggestions }: ErrorView): string =>
  [`${message} [${code}]`, ...suggestions.map((suggestion) => `Try: ${suggestion}`)].join('\n');

interface ErrorView {
  readonly code: string;
  readonly message: string;
  readonly suggestions: readonly string[];
}

/** A round-trip time in milliseconds. */
export const roundTripText = (ms: number): string => `${Number(ms.toPrecision(2))} ms`;
