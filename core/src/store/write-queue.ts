/** One change of a batch. */
export type Write =
  | { readonly type: 'put'; readonly table: string; readonly key: string; readonly value: unknown }
  | { readonly type: 'del'; readonly table: string; readonly key: string };

/** Options of a write. */
export interface WriteOptions {
  /** Whether the write is on disk when it returns (default). Otherwise it survives a crash of the process only. */
  readonly sync?: boolean;
  /**
   * Whether the write records an event that cannot be undone. If it fails, it is owed: it is retried before all later
   * writes until it succeeds.
   */
  readonly owed?: boolean;
}

interface Waiting extends WriteOptions {
  readonly changes: readonly Write[];
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/** Time between two attempts to write owed changes, ms. */
const RETRY_MS = 2_000;

/**
 * Combines writes into batches. Writes that arrive while a batch is being written form the next batch, in their order, so
 * that a thousand writes need only a few flushes of the disk.
 */
export class WriteQueue {
  #waiting: Waiting[] = [];
  #owed: readonly Write[] = [];
  #running: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  /** @param commit Applies all changes or none; calls never overlap */
  constructor(private readonly commit: (changes: readonly Write[], sync: boolean) => Promise<void>) {}

  /** Adds a write to the next batch. @throws the error of `commit`, unless the write may be owed */
  add(changes: readonly Write[], options: WriteOptions = {}): Promise<void> {
    return new Promise((done, failed) => {
      this.#waiting.push({ ...options, changes, done, failed });
      this.#running ??= this.#run();
    });
  }

  /** Tries once to write owed changes. No write may be added afterwards. @throws the error of `commit` */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#running;
    if (this.#owed.length > 0) await this.commit(this.#owed, true);
  }

  async #run(): Promise<void> {
    // Writes added in the same turn join the batch.
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
