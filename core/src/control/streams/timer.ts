/** Timers of Node.js hold 31 bits of ms. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Something that happens to a stream by itself, such as at the end of its lifetime, however far that is. Keeps no process alive. */
export class StreamTimer {
  #timer: NodeJS.Timeout | undefined;

  /** @param at ISO 8601. @param over Called then, unless something else was set or it was stopped. */
  until(at: string, over: () => void): void {
    const left = Math.max(0, Date.parse(at) - Date.now());
    if (left <= LONGEST_TIMER_MS) return this.after(left, over);
    this.after(LONGEST_TIMER_MS, () => this.until(at, over));
  }

  /** Instead of what was set. */
  after(ms: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms).unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
