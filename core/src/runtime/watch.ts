import { isAlive, type ProcessIdentity } from '../contracts/process-identity.js';

const INTERVAL_MS = 500;

interface Watched {
  readonly process: ProcessIdentity;
  readonly ended: () => void;
}

/**
 * Detects the end of processes that are not children of this process and so have no exit event. One timer checks all of
 * them in /proc, twice a second.
 */
export class ProcessWatch {
  readonly #watched = new Set<Watched>();
  #timer: NodeJS.Timeout | undefined;

  /** Settles when the process has ended or `signal` aborts. */
  ended(process: ProcessIdentity, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const ended = (): void => {
        this.#watched.delete(one);
        if (this.#watched.size === 0) this.#disarm();
        signal.removeEventListener('abort', ended);
        resolve();
      };
      const one = { process, ended };
      if (signal.aborted) return resolve();
      signal.addEventListener('abort', ended, { once: true });
      this.#watched.add(one);
      this.#arm();
    });
  }

  #arm(): void {
    if (this.#watched.size > 0) this.#timer ??= setTimeout(() => void this.#look(), INTERVAL_MS);
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #look(): Promise<void> {
    // A failed check is repeated: the caller of `ended` would kill a process that still runs.
    const looks = [...this.#watched].map(async (one) => (await isAlive(one.process).catch(() => true)) || one.ended());
    await Promise.all(looks);
    this.#disarm();
    this.#arm();
  }
}
