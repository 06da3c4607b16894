/** Limits how many things a caller has open at the same time. */
export class Places {
  readonly #taken = new Map<string, number>();

  /** @returns Frees the place; idempotent. Undefined if `most` places are taken. */
  take(key: string, most: number): (() => void) | undefined {
    const taken = this.#taken.get(key) ?? 0;
    if (taken >= most) return undefined;
    this.#taken.set(key, taken + 1);
    let held = true;
    return () => {
      if (held) this.#free(key);
      held = false;
    };
  }

  #free(key: string): void {
    const left = (this.#taken.get(key) ?? 1) - 1;
    if (left > 0) this.#taken.set(key, left);
    else this.#taken.delete(key);
  }
}
