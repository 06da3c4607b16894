import { createHash } from 'node:crypto';
import type { Credentials } from '../../contracts/authenticator.js';

/** For how long credentials are known after they were accepted, ms. */
const KNOWN_MS = 300_000;
/** Credentials that are known at a time; of more than these, the one that was accepted longest ago is forgotten. */
const MOST = 10_000;

/** Which credentials were accepted of late, by a hash: of the credentials themselves nothing is kept. */
export class RecentCredentials {
  /** When each was accepted, by `performance.now`; oldest first. */
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

/** The same wherever they come from. */
const keyOf = ({ token, certificate }: Credentials): string =>
  createHash('sha256')
    .update(`${certificate?.certificate.fingerprint256 ?? ''} ${token}`)
    .digest('base64');
