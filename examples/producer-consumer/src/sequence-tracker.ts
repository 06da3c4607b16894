/** Detects lost, duplicated and reordered frames of one connection by their sequence numbers. */
export class SequenceTracker {
  /** Frames whose sequence had already arrived. */
  duplicated = 0;
  /** New frames that arrived after one with a higher sequence. */
  reordered = 0;
  /** Ranges not received yet, `to` excluded. Nothing below `#lowest` counts as lost. */
  #gaps: { readonly from: number; readonly to: number }[] = [];
  #next = 0;
  #lowest = Number.POSITIVE_INFINITY;

  /** Missing frames so far; those before the first received frame count only after {@link close}. */
  get lost(): number {
    return this.#gaps.reduce((sum, gap) => sum + Math.max(0, gap.to - Math.max(gap.from, this.#lowest)), 0);
  }

  /** Records one frame, in order of arrival. */
  see(sequence: number): void {
    if (sequence >= this.#next) {
      if (sequence > this.#next) this.#gaps.push({ from: this.#next, to: sequence });
      this.#next = sequence + 1;
    } else {
      this.#seeLate(sequence);
    }
    this.#lowest = Math.min(this.#lowest, sequence);
  }

  /** Records the content of the closing frame. Returns false if frames arrived that were never sent. */
  close(firstSequence: number, frames: number): boolean {
    const end = firstSequence + frames;
    const plausible = frames === 0 ? this.#next === 0 : this.#lowest >= firstSequence && this.#next <= end;
    this.#lowest = firstSequence;
    if (end > this.#next) this.#gaps.push({ from: this.#next, to: end });
    return plausible;
  }

  #seeLate(sequence: number): void {
    const index = this.#gaps.findIndex((gap) => gap.from <= sequence && sequence < gap.to);
    const gap = this.#gaps[index];
    if (gap === undefined) {
      this.duplicated++;
      return;
    }
    this.reordered++;
    const rest = [
      { from: gap.from, to: sequence },
      { from: sequence + 1, to: gap.to },
    ].filter(({ from, to }) => from < to);
    this.#gaps.splice(index, 1, ...rest);
  }
}
