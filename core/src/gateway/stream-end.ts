import { EventEmitter, once } from 'node:events';
import { messageOf, S2DSException } from '../contracts/errors.js';

/**
 * How a stream ends, for as many as want to know, who may come and go: a promise holds on to all who ever waited for it, and
 * a stream lives for days.
 */
export class StreamEnd {
  readonly #changes = new EventEmitter().setMaxListeners(0);
  #known: { readonly error: S2DSException | undefined } | undefined;
  #followed = false;

  /** @param ended Settles when the stream ends; called when the first one wants to know. */
  constructor(private readonly ended: () => Promise<S2DSException | undefined>) {}

  /**
   * Waits for the end.
   * @param signal Aborts when nobody waits any more, and then it rejects with that.
   * @returns the error when it failed by itself
   */
  async wait(signal: AbortSignal | undefined): Promise<S2DSException | undefined> {
    if (this.#known) return this.#known.error;
    this.#follow();
    const [error] = (await once(this.#changes, 'end', { signal })) as [S2DSException | undefined];
    return error;
  }

  #follow(): void {
    if (this.#followed) return;
    this.#followed = true;
    const tell = (error: S2DSException | undefined): void => {
      this.#known = { error };
      this.#changes.emit('end', error);
    };
    this.ended().then(tell, (error: unknown) => {
      // Such as of a stream that was not started: whoever asks next may hear something else.
      this.#followed = false;
      const known = S2DSException.is(error);
      this.#changes.emit('end', known ? error : new S2DSException('SCI_BUG', messageOf(error), { cause: error }));
    });
  }
}
