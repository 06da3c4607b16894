/** One change of a batch. */
export type Write =
  | { readonly type: 'put'; readonly table: string; readonly key: string; readonly value: unknown }
  | { readonly type: 'del'; readonly table: string; readonly key: string };

/** How a write is made. */
export interface WriteOptions {
  /** Whether it must be on the disk when it returns, default true. Otherwise it survives this process, not the machine. */
  readonly sync?: boolean;
  /**
   * It tells of something that has happened and cannot be undone: when it cannot be made now, it is owed, and made as
   * soon as that can be done, before anything younger.
   */
  readonly owed?: boolean;
}

interface Waiting extends WriteOptions {
  readonly changes: readonly Write[];
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/** Between two attempts to write what is owed, ms. */
const RETRY_MS = 2_000;

/**
 * Makes many writes at once of few: what comes while a batch is being written goes into the next one together, in the
 * order in which it came, so that a thousand writes wait for a handful of flushes of the disk.
 */
export class WriteQueue {
  #waiting: Waiting[] = [];
  #owed: readonly Write[] = [];
  #running: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  /** @param commit Makes all changes or none; never called twice at once. */
  constructor(private readonly commit: (changes: readonly Write[], sync: boolean) => Promise<void>) {}

  /** @throws what `commit` throws, unless the write may be owed */
  add(changes: readonly Write[], options: WriteOptions = {}): Promise<void> {
    return new Promise((done, failed) => {
      this.#waiting.push({ ...options, changes, done, failed });
      this.#running ??= this.#run();
    });
  }

  /** Writes what is left, once. Nothing may be added afterwards. @throws what `commit` throws when something stays owed */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#running;
    if (this.#owed.length > 0) await this.commit(this.#owed, true);
  }

  async #run(): Promise<void> {
    // What is added in the same turn goes along.
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#write(this.#waiting.splice(0));
    this.#running = undefined;
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    const sync = this.#owed.length > 0 || batch.some((one) => one.sync ?? true);
    try {
      await this.commit([...this.#owed, ...batch.flatMap(({ changes }) => changes)], sync);
      this.#owed = [];
      for (const { done } of batch) done();
    } catch (error) {
      const owed = batch.filter((one) => one.owed);
      this.#owed = [...this.#owed, ...owed.flatMap(({ changes }) => changes)];
      for (const one of batch) {
        if (one.owed) one.done();
        else one.failed(error);
      }
      this.#tryAgain();
    }
  }

  #tryAgain(): void {
    clearTimeout(this.#retry);
    if (this.#closed || this.#owed.length === 0) return;
    this.#retry = setTimeout(() => void this.add([], { owed: true }), RETRY_MS).unref();
  }
}
