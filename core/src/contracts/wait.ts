import { setTimeout as sleep } from 'node:timers/promises';

/** Timing of {@link retry}. */
export interface RetryOptions {
  /**
   * Returns the pause before the next attempt, ms; undefined if the error ends the retries.
   * @param failures Number of failed attempts, from 1.
   */
  readonly pauseMs: (error: unknown, failures: number) => number | undefined;
  /** Deadline for the start of the last attempt, ms; default: none. The first attempt is always made. */
  readonly timeoutMs?: number;
  /** Ends the retries with its reason, also during a pause. It does not interrupt an attempt. */
  readonly signal?: AbortSignal | undefined;
  /** Whether a pause keeps the process running; default true. */
  readonly ref?: boolean;
}

/**
 * Calls `attempt` until it succeeds.
 * @param attempt Receives the time until the deadline, ms; Infinity without a deadline. A retry gets at least 1.
 * @throws the error of the last attempt, or the reason of the signal
 */
export async function retry<T>(attempt: (leftMs: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { pauseMs, timeoutMs = Infinity, signal, ref = true } = options;
  const deadline = performance.now() + timeoutMs;
  let leftMs = timeoutMs;
  for (let failures = 1; ; failures += 1) {
    signal?.throwIfAborted();
    try {
      return await attempt(leftMs);
    } catch (error) {
      signal?.throwIfAborted();
      const pause = pauseMs(error, failures);
      if (pause === undefined || performance.now() + pause >= deadline) throw error;
      await wait(pause, signal, ref);
      // A timer can fire late, and most callers take 0 for no deadline.
      leftMs = Math.max(1, deadline - performance.now());
    }
  }
}

/** Resolves after a time, ms. @throws the reason of `signal` as soon as it aborts */
const wait = (ms: number, signal: AbortSignal | undefined, ref = true): Promise<void> =>
  sleep(ms, undefined, { signal, ref }).catch(() => signal?.throwIfAborted());

/** The pause after the given number of failures, ms. It starts at `firstMs` and doubles up to `maxMs`. */
export function backOff(failures: number, firstMs: number, maxMs: number): number {
  return Math.min(maxMs, firstMs * 2 ** (failures - 1));
}

/** Timing of {@link poll}. */
export interface PollOptions {
  /** Time until the start of the last attempt, ms. The first attempt is always made. */
  readonly timeoutMs: number;
  /** Pause between two attempts, ms; default 10. */
  readonly intervalMs?: number;
  /** Ends the attempts with its reason, also during a pause. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Calls `attempt` until it returns a value other than undefined. An error counts as undefined. After the timeout it
 * throws the result of `onTimeout`, which gets the error of the last attempt, if any. It does not interrupt an attempt.
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
    await wait(options.intervalMs ?? 10, options.signal);
  }
}

/** Waits for a promise for at most `timeoutMs`, then throws the result of `onTimeout`. Does not cancel the promise. */
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

/** Runs calls one after another, in the order in which they came. */
export class Queue {
  #tail: Promise<unknown> = Promise.resolve();
  #length = 0;

  /** Whether no call runs or waits. */
  get isIdle(): boolean {
    return this.#length === 0;
  }

  /** Settles as `call` does; a failed call does not affect the next one. */
  async run<T>(call: () => Promise<T>): Promise<T> {
    this.#length += 1;
    const result = this.#tail.then(call);
    this.#tail = result.catch(() => undefined);
    try {
      return await result;
    } finally {
      this.#length -= 1;
    }
  }
}

/** Runs functions with the same key one after another. Different keys are independent. Idle keys use no memory. */
export class KeyedLock {
  readonly #queues = new Map<string, Queue>();

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(key) ?? new Queue();
    this.#queues.set(key, queue);
    try {
      return await queue.run(work);
    } finally {
      if (queue.isIdle) this.#queues.delete(key);
    }
  }
}
