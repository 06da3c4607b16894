import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, S2DSException, SciStreamError } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';

/** Between two attempts to take charge of a stream, ms. */
const RETRY_MS = 2_000;

interface Orphan {
  /** Why nobody has charge of it. */
  reason: unknown;
  readonly stop: AbortController;
  /** Settles when no attempt is made any more. */
  readonly over: Promise<void>;
}

/** Streams of an earlier process that nobody has charge of yet, mostly because their runtime does not answer. */
export class Orphans {
  readonly #orphans = new Map<string, Orphan>();

  /** @param closing Ends all attempts. */
  constructor(
    private readonly closing: AbortSignal,
    private readonly log: Logger,
  ) {}

  has(uid: string): boolean {
    return this.#orphans.has(uid);
  }

  /**
   * Takes in a stream, and tries again and again to find somebody for it.
   * @param reason Why there is nobody.
   * @param adopt Takes charge of it; called until it does not reject.
   */
  add(uid: string, reason: unknown, adopt: () => Promise<void>): void {
    this.log.error({ uid, error: messageOf(reason) }, 'cannot take charge of a stream yet');
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.closing]);
    const over = this.#retry(uid, adopt, signal).then(
      () => void this.#orphans.delete(uid),
      () => undefined,
    );
    this.#orphans.set(uid, { reason, stop, over });
  }

  /** Ends the attempts for a stream; after that it is somebody's, or the caller's. */
  async take(uid: string): Promise<void> {
    const orphan = this.#orphans.get(uid);
    orphan?.stop.abort();
    await orphan?.over;
    this.#orphans.delete(uid);
  }

  /** Settles when the stream is no orphan any more; never when this process ends before, for the stream does not. */
  async adopted(uid: string): Promise<void> {
    const orphan = this.#orphans.get(uid);
    if (!orphan) return;
    await orphan.over;
    if (this.closing.aborted) await new Promise(() => undefined);
  }

  /** What to answer to those who want something of an orphan. */
  error(uid: string): S2DSException {
    const cause = this.#orphans.get(uid)?.reason;
    if (SciStreamError.is(cause) && cause.code === 'SCI_STATE_DAMAGED')
      return new S2DSException(cause.code, cause.message, { cause, suggestions: cause.suggestions });
    return new S2DSException(
      'SCI_RUNTIME_UNREACHABLE',
      `Nobody has charge of stream ${uid} since the start: ${messageOf(cause)}`,
      {
        cause,
        suggestions: [
          'See the log of the daemon, and try again when the runtime is back.',
          'If it never comes back, remove its plugin, restart the daemon, and release the stream.',
        ],
      },
    );
  }

  /** After `closing` was aborted. Returns when no attempt is under way any more. */
  async close(): Promise<void> {
    await Promise.all([...this.#orphans.values()].map(({ over }) => over));
  }

  /** Rejects only when `signal` aborts. */
  async #retry(uid: string, adopt: () => Promise<void>, signal: AbortSignal): Promise<void> {
    for (;;) {
      await sleep(RETRY_MS, undefined, { signal });
      try {
        return await adopt();
      } catch (error) {
        const orphan = this.#orphans.get(uid);
        if (!orphan || messageOf(error) === messageOf(orphan.reason)) continue;
        orphan.reason = error;
        this.log.error({ uid, error: messageOf(error) }, 'still cannot take charge of a stream');
      }
    }
  }
}
