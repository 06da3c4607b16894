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
