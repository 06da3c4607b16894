/** Age of a log line up to which it describes the present, ms. */
const RECENT_MS = 60_000;

/**
 * Returns true if a line of a log that matches `pattern` is at most a minute old. Lines start with the date and time as
 * stunnel and Nginx write them: `2026.11.30 18:24:22` or `2026/11/30 18:24:22`.
 * @param utc Whether the program writes UTC, as in containers, and not the local time of this host.
 */
export function loggedRecently(log: string, pattern: RegExp, utc: boolean): boolean {
  const line = log.split('\n').findLast((candidate) => pattern.test(candidate));
  const [, year, month, day, time] = /^(\d{4})[./](\d\d)[./](\d\d) (\d\d:\d\d:\d\d)/.exec(line ?? '') ?? [];
  if (time === undefined) return false;
  const written = Date.parse(`${year}-${month}-${day}T${time}${utc ? 'Z' : ''}`);
  return Date.now() - written < RECENT_MS;
}
