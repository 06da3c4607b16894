/** Sessions of one source address. Two relays that forward to each other open a session for every datagram. */
const MAX_PER_SOURCE = 1024;
/** New sessions of one source address: at first, and then in a second. */
const BURST = 512;
const PER_SECOND = 64;

interface Source {
  sessions: number;
  /** Sessions that may be opened now. */
  credit: number;
  /** When `credit` was computed, ms. */
  at: number;
}

/**
 * Limits the sessions of each source address, by number and by rate. A datagram that would need another session is
 * dropped. That ends a loop between relays, and a source leaves room for others.
 */
export class SessionQuota {
  readonly #sources = new Map<string, Source>();

  /** Counts a new session. @returns false if the source must not have another one */
  take(address: string): boolean {
    const now = performance.now();
    const source = this.#sources.get(address) ?? { sessions: 0, credit: BURST, at: now };
    source.credit = Math.min(BURST, source.credit + ((now - source.at) * PER_SECOND) / 1000);
    source.at = now;
    if (source.credit < 1 || source.sessions >= MAX_PER_SOURCE) return false;
    source.credit -= 1;
    source.sessions += 1;
    this.#sources.set(address, source);
    return true;
  }

  /** Counts the end of a session. */
  give(address: string): void {
    const source = this.#sources.get(address);
    if (source) source.sessions -= 1;
  }

  /** Forgets the sources without sessions whose credit is full again. Call it regularly. */
  clean(): void {
    const full = performance.now() - (BURST / PER_SECOND) * 1000;
    for (const [address, { sessions, at }] of this.#sources)
      if (sessions === 0 && at < full) this.#sources.delete(address);
  }
}
