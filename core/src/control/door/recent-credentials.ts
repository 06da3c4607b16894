import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Credentials } from '../../contracts/authenticator.js';

/** How long credentials count as recently accepted, ms. */
const RECENT_MS = 300_000;
const MAX_ENTRIES = 10_000;

/** Remembers recently accepted credentials by their hash. The credentials themselves are not kept. */
export class RecentCredentials {
  readonly #accepted = new LRUCache<string, true>({ max: MAX_ENTRIES, ttl: RECENT_MS });

  has(credentials: Credentials): boolean {
    return this.#accepted.has(keyOf(credentials));
  }

  accepted(credentials: Credentials): void {
    this.#accepted.set(keyOf(credentials), true);
  }

  refused(credentials: Credentials): void {
    this.#accepted.delete(keyOf(credentials));
  }
}

/** The same key for every address of the caller. */
const keyOf = ({ token, certificate }: Credentials): string =>
  createHash('sha256')
    .update(`${certificate?.certificate.fingerprint256 ?? ''} ${token}`)
    .digest('base64');
