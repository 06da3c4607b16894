import { createHash } from 'node:crypto';
import type { Credentials } from '../../contracts/authenticator.js';

/** Time for which credentials are known after they were accepted, ms. */
const KNOWN_MS = 300_000;
/** Most credentials that are known; beyond that, the ones accepted longest ago are dropped. */
const MOST = 10_000;

/** The credentials that were accepted recently. Keeps only their hashes. */
export class RecentCredentials {
  /** Time of acceptance from `performance.now`, by hash; oldest first. */
  readonly #accepted = new Map<string, number>();

  has(credentials: Credentials): boolean {
    const at = this.#accepted.get(keyOf(credentials));
    return at !== undefined && performance.now() - at < KNOWN_MS;
  }

  accepted(credentials: Credentials): void {
    const key = keyOf(credentials);
    this.#accepted.delete(key);
    this.#accepted.set(key, performance.now());
    const [oldest] = this.#accepted.keys();
    if (this.#accepted.size > MOST && oldest !== undefined) this.#accepted.delete(oldest);
  }

  refused(credentials: Credentials): void {
    this.#accepted.delete(keyOf(credentials));
  }
}

/** A hash of the credentials without the address of the caller. */
const keyOf = ({ token, certificate }: Credentials): string =>
  createHash('sha256')
    .update(`${certificate?.certificate.fingerprint256 ?? ''} ${token}`)
    .digest('base64');
