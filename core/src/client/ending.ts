import type { StreamStatus } from './status.js';

/** Times before the end of a stream at which a watch reports it, ms, the longest first. */
const NOTICES_MS = [10 * 60_000, 60_000] as const;

/** Delay after the time of a notice, ms: a timer can fire a little early. */
const LATE_MS = 20;

const LONGEST_TIMER_MS = 2 ** 31 - 1;

const OVER: ReadonlySet<string> = new Set(['failed', 'releasing', 'released']);

/**
 * Time until the lifetime of a stream ends, ms.
 * @returns undefined if the stream has ended, if its end is unknown, or if the end is more than 10 minutes away.
 */
export function endsInMs(
  { state, expiresAt }: Pick<StreamStatus, 'state' | 'expiresAt'>,
  now: Date = new Date(),
): number | undefined {
  const left = Date.parse(expiresAt) - now.getTime();
  return left > 0 && left <= NOTICES_MS[0] && !OVER.has(state) ? left : undefined;
}

/** Calls `notify` 10 minutes and 1 minute before the end of a stream. A later end replaces an earlier one. */
export class EndNotice implements Disposable {
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly notify: () => void) {}

  /** @param expiresAt End of the stream, ISO 8601. Ignored if it is unknown or more than 24 days away. */
  set(expiresAt: string): void {
    clearTimeout(this.#timer);
    const left = Date.parse(expiresAt) - Date.now();
    const notice = NOTICES_MS.find((before) => before < left);
    if (notice === undefined || left - notice > LONGEST_TIMER_MS - LATE_MS) return;
    this.#timer = setTimeout(this.notify, left - notice + LATE_MS);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
