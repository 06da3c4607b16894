import { RateLimited } from '../../serving/error-status.js';

/** A caller who made no request for this long may make as many at once as it may in this time, s. */
const BURST_S = 10;
/** Callers that are remembered; of more than this the one that is remembered longest is forgotten. */
const MOST_KEYS = 10_000;

interface Bucket {
  left: number;
  /** Of `performance.now`. */
  at: number;
  told: boolean;
}

/** Counts requests by who makes them: so many per second, and ten seconds' worth of them at once. */
export class RateLimiter {
  readonly #buckets = new Map<string, Bucket>();

  /**
   * @param perSecond Asked for each time, because it may change.
   * @param what For the message: what of whom is limited.
   * @param tell Called when somebody has to wait who did not have to before.
   */
  constructor(
    private readonly perSecond: () => number,
    private readonly what: string,
    private readonly tell: (key: string) => void,
  ) {}

  /** Counts one request. @throws RateLimited */
  take(key: string): void {
    const now = performance.now();
    const bucket = this.#bucket(key, now);
    if (bucket.left >= 1) {
      bucket.left -= 1;
      return;
    }
    if (!bucket.told) this.tell(key);
    bucket.told = true;
    const wait = ((1 - bucket.left) / this.perSecond()) * 1000;
    throw new RateLimited(`There are more than ${this.perSecond()} ${this.what} per second.`, Math.ceil(wait));
  }

  /** Takes back that a request was counted. */
  giveBack(key: string): void {
    const bucket = this.#buckets.get(key);
    if (bucket) bucket.left = Math.min(this.#most, bucket.left + 1);
  }

  get #most(): number {
    return this.perSecond() * BURST_S;
  }

  #bucket(key: string, now: number): Bucket {
    const known = this.#buckets.get(key);
    if (known) {
      known.left = Math.min(this.#most, known.left + ((now - known.at) / 1000) * this.perSecond());
      known.at = now;
      if (known.left > this.#most / 2) known.told = false;
      return known;
    }
    if (this.#buckets.size >= MOST_KEYS) this.#forget(now);
    const made = { left: this.#most, at: now, told: false };
    this.#buckets.set(key, made);
    return made;
  }

  /** Who made no request for so long that nothing is left to remember; if there is nobody, the oldest. */
  #forget(now: number): void {
    for (const [key, { at }] of this.#buckets) if (now - at > BURST_S * 1000) this.#buckets.delete(key);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size >= MOST_KEYS && oldest !== undefined) this.#buckets.delete(oldest);
  }
}
