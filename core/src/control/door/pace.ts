import type { Logger } from '../../contracts/logger.js';
import { parseUid } from '../../contracts/stream.js';
import { perMinute, RateLimiter } from '../../serving/rate-limiter.js';
import type { PaceLimits } from '../parts/settings.js';
import type { Admitted } from './admission.js';

/** Limits how often a caller creates and updates streams. */
export class Pace {
  readonly #requests: RateLimiter;
  readonly #updates: RateLimiter;
  readonly #updatesOfStream: RateLimiter;

  constructor(limits: PaceLimits, log: Logger) {
    const tell = (from: string): void => log.warn({ from }, 'too many calls that change streams, rejecting some');
    const most = { streams: () => limits.streamsPerMinute, updates: () => limits.updatesPerMinute };
    this.#requests = perMinute('REQs', { most: most.streams, key: 'streamsPerMinute' }, tell);
    this.#updates = perMinute('UPDATEs', { most: most.updates, key: 'updatesPerMinute' }, tell);
    this.#updatesOfStream = new RateLimiter(
      () => limits.updatesPerSecond,
      'updates of this stream',
      () => undefined,
    );
  }

  /** Counts a REQ. @throws RateLimited */
  request(caller: Admitted): void {
    this.#count(this.#requests, caller);
  }

  /** Counts an UPDATE. @throws RateLimited, SCI_UID_INVALID */
  update(caller: Admitted, uid: string): void {
    this.#updatesOfStream.take(`${caller.account} ${parseUid(uid)}`);
    this.#count(this.#updates, caller);
  }

  /** Where authentication is off, all callers have one identity. */
  #count(limiter: RateLimiter, { identity, account }: Admitted): void {
    if (identity.issuer !== 'none') limiter.take(account);
  }
}
