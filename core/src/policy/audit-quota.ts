/** Time in which the lines of a source are limited, and after which counted entries are written, ms. */
export const WINDOW_MS = 60_000;
/** Lines of one source in that time. */
const MOST_OF_SOURCE = 60;
/** Lines of all sources in that time. */
const MOST = 600;
/** Sources that are counted separately. */
const MOST_SOURCES = 10_000;
/** Sources whose suppressed entries are written separately. The others have one line together. */
const TOLD = 20;
/** The name of all further sources. */
const OTHERS = 'others';

/** Entries of one source that were not written. */
export interface Suppressed {
  readonly source: string;
  readonly count: number;
}

/** Limits the lines of each source, and counts what was not written. */
export class AuditQuota {
  #since = performance.now();
  #lines = 0;
  readonly #written = new Map<string, number>();
  readonly #suppressed = new Map<string, number>();

  /** Whether an entry of a source may be written. Otherwise it is counted. @param none Counts it in any case */
  take(source: string, none: boolean): boolean {
    if (performance.now() - this.#since >= WINDOW_MS) this.#begin();
    const known = this.#written.has(source) || this.#written.size < MOST_SOURCES ? source : OTHERS;
    const lines = this.#written.get(known) ?? 0;
    if (!none && lines < MOST_OF_SOURCE && this.#lines < MOST) {
      this.#written.set(known, lines + 1);
      this.#lines += 1;
      return true;
    }
    const counted = this.#suppressed.has(known) || this.#suppressed.size < MOST_SOURCES ? known : OTHERS;
    this.#suppressed.set(counted, (this.#suppressed.get(counted) ?? 0) + 1);
    return false;
  }

  /** Suppressed entries that were not told yet, if the window is older than `ms`. */
  due(ms: number): readonly Suppressed[] {
    if (performance.now() - this.#since < ms) return [];
    const all = [...this.#suppressed].map(([source, count]) => ({ source, count }));
    const most = all.toSorted((a, b) => b.count - a.count);
    const others = most.slice(TOLD).reduce((sum, { count }) => sum + count, 0);
    for (const { source } of most.slice(TOLD)) this.#suppressed.delete(source);
    if (others > 0) this.#suppressed.set(OTHERS, (this.#suppressed.get(OTHERS) ?? 0) + others);
    const told = most.slice(0, TOLD).filter(({ source }) => source !== OTHERS);
    const rest = this.#suppressed.get(OTHERS) ?? 0;
    return rest > 0 ? [...told, { source: OTHERS, count: rest }] : told;
  }

  /** Removes entries that were written as a count. */
  told(source: string, count: number): void {
    const left = (this.#suppressed.get(source) ?? 0) - count;
    if (left > 0) this.#suppressed.set(source, left);
    else this.#suppressed.delete(source);
  }

  #begin(): void {
    this.#since = performance.now();
    this.#lines = 0;
    this.#written.clear();
  }
}
