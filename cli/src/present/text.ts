/** The expiry of a stream in local time; with the date unless it is today. */
export function untilText(iso: string, now: Date = new Date()): string {
  const end = new Date(iso);
  if (Number.isNaN(end.getTime())) return 'unknown';
  const pad = (value: number): string => String(value).padStart(2, '0');
  const time = `${pad(end.getHours())}:${pad(end.getMinutes())}`;
  if (end.toDateString() === now.toDateString()) return time;
  return `${end.getFullYear()}-${pad(end.getMonth() + 1)}-${pad(end.getDate())} ${time}`;
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

/** A duration in seconds or minutes. */
export function elapsedText(ms: number): string {
  return ms < 100_000 ? `${Number((ms / 1000).toPrecision(2))} s` : `${Math.round(ms / 60_000)} min`;
}

/** A round-trip time in milliseconds. */
export const roundTripText = (ms: number): string => `${Number(ms.toPrecision(2))} ms`;
