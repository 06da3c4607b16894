import { setTimeout as sleep } from 'node:timers/promises';

/** How long and how often {@link poll} tries. */
export interface PollOptions {
  /** Until the last try begins; the first is made in any case. */
  readonly timeoutMs: number;
  /** Pause between two tries, default 10 ms. */
  readonly intervalMs?: number;
  /** Ends the waiting with its reason, before the next try. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Calls `attempt` until it returns something other than undefined; an error counts as undefined. When the time is over,
 * what `onTimeout` makes of the error of the last try (if it threw one) is thrown; a try in flight is not interrupted.
 */
export async function poll<T>(
  attempt: () => Promise<T | undefined> | T | undefined,
  options: PollOptions,
  onTimeout: (lastError: unknown) => Error,
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  for (;;) {
    options.signal?.throwIfAborted();
    let lastError: unknown;
    try {
      const result = await attempt();
      if (result !== undefined) return result;
    } catch (error) {
      lastError = error;
    }
    if (performance.now() >= deadline) throw onTimeout(lastError);
    await sleep(options.intervalMs ?? 10);
  }
}

/** Waits for a promise, at most `timeoutMs`; the promise itself goes on. */
export async function within<T>(promise: Promise<T>, timeoutMs: number, onTimeout: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(onTimeout()), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Runs functions one after another per key; different keys do not wait for each other. Keeps nothing for idle keys. */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<unknown>>();

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const result = before.then(work, work);
    const tail = result.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(key, tail);
    try {
      return await result;
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}
