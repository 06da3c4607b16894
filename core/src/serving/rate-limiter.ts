import { LRUCache } from 'lru-cache';
import { RateLimited } from './error-status.js';

/** Time for which a caller may save unused requests, and then make all of them immediately, s. */
export const BURST_S = 10;
/** Most callers that are tracked; beyond that, the one without a request for the longest time is dropped. */
const MOST_KEYS = 10_000;

interface Bucket {
  left: number;
  /** Time of the last update, from `performance.now`. */
  at: number;
  told: boolean;
}

/** Calls per minute, and the key below `limits` that sets their maximum. */
export interface PerMinute {
  /** Read for each request, because the limit may change. */
  readonly most: () => number;
  readonly key: string;
}

/** Limits a kind of call of each caller per minute. @param what Plural, for the error */
export function perMinute(what: string, { most, key }: PerMinute, tell: (caller: string) => void): RateLimiter {
  const error = (): string => `More than ${most()} ${what} of this caller per minute (limits.${key}).`;
  return new RateLimiter(() => most() / 60, what, tell, error);
}

/** Limits the requests of each caller per second, with bursts of up to ten seconds' worth. */
export class RateLimiter {
  readonly #buckets = new LRUCache<string, Bucket>({ max: MOST_KEYS });

  /**
   * @param perSecond Called for each request, because the limit may change.
   * @param what For the error: the requests that are limited.
   * @param tell Called when a caller exceeds the limit after a time in which it did not.
   * @param error Message of the error.
   */
  constructor(
    private readonly perSecond: () => number,
    what: string,
    private readonly tell: (key: string) => void,
    private readonly error = () => `More than ${perSecond()} ${what} per second.`,
  ) {}

  /** Counts one request. @throws RateLimited */
  take(key: string): void {
    if (this.admits(key)) return;
    const wait = ((1 - this.#bucket(key, performance.now()).left) / this.perSecond()) * 1000;
    // It may be over already.
    throw new RateLimited(this.error(), Math.max(1, Math.ceil(wait)));
  }

  /** Counts one request, unless the caller exceeds the limit. @returns Whether the request is within the limit */
  admits(key: string): boolean {
    const bucket = this.#bucket(key, performance.now());
    if (bucket.left >= 1) {
      bucket.left -= 1;
      return true;
    }
    if (!bucket.told) this.tell(key);
    bucket.told = true;
    return false;
  }

  /** Undoes the count of one request. */
  giveBack(key: string): void {
    const bucket = this.#buckets.get(key);
    if (bucket) bucket.left = Math.min(this.#most, bucket.left + 1);
  }

  get #most(): number {
    return Math.max(1, this.perSecond() * BURST_S);
  }

  #bucket(key: string, now: number): Bucket {
    const known = this.#buckets.get(key);
    if (known) {
      known.left = Math.min(this.#most, known.left + ((now - known.at) / 1000) * this.perSecond());
      known.at = now;
      if (known.left > this.#most / 2) known.told = false;
      return known;
    }
    const made = { left: this.#most, at: now, told: false };
    this.#buckets.set(key, made);
    return made;
  }
}
