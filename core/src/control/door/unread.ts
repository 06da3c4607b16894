import { createContextKey } from '@connectrpc/connect';
import { abort, type Response } from '../../serving/answer.js';
import { RateLimited } from '../../serving/error-status.js';

/** The HTTP response of a call, set by the HTTP server. */
export const RESPONSE = createContextKey<Response | undefined>(undefined);

/** Bytes of answers that one caller has requested and not read. */
const MOST_OF_CALLER = 4_000_000;
/** The same for all callers together. */
const MOST = 64_000_000;
/** Time after which a call is aborted whose answer is not read, ms. */
const READ_MS = 30_000;
/** Time to wait before the next attempt, ms. */
const RETRY_MS = 1_000;

/** Limits the memory of answers, which stay in memory until the caller has read them. */
export class UnreadAnswers {
  readonly #callers = new Map<string, number>();
  #all = 0;

  /**
   * Counts an answer until its call ends.
   * @param bytes Approximate size. The first answer of a caller may be larger than the limit.
   * @throws RateLimited while the caller, or all callers together, have too many unread answers
   */
  add(caller: string, bytes: number, response: Response | undefined): void {
    if (!response) return;
    const unread = this.#callers.get(caller) ?? 0;
    if (unread > 0 && unread + bytes > MOST_OF_CALLER)
      throw new RateLimited(`More than ${MOST_OF_CALLER / 1e6} MB of answers to this caller are unread.`, RETRY_MS);
    if (this.#all > 0 && this.#all + bytes > MOST)
      throw new RateLimited(`More than ${MOST / 1e6} MB of answers are unread.`, RETRY_MS);
    this.#callers.set(caller, unread + bytes);
    this.#all += bytes;
    const late = setTimeout(() => abort(response), READ_MS).unref();
    response.once('close', () => {
      clearTimeout(late);
      this.#remove(caller, bytes);
    });
  }

  #remove(caller: string, bytes: number): void {
    this.#all -= bytes;
    const left = (this.#callers.get(caller) ?? 0) - bytes;
    if (left > 0) this.#callers.set(caller, left);
    else this.#callers.delete(caller);
  }
}
