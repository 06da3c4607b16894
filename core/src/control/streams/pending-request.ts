import { SciStreamError } from '../../contracts/errors.js';
import { formatDuration } from '../../contracts/units.js';
import { StreamTimer } from './live-stream.js';

/**
 * The request (`req`) of one stream, which waits for HELLO. Owns the HELLO timeout, the promise that the caller waits for,
 * and the watch on the connection of the caller. It keeps nothing of a call that has returned: a stream lives for days.
 */
export class PendingRequest {
  readonly #timer = new StreamTimer();
  readonly #greeted: Promise<void>;
  #greet: () => void = () => undefined;
  #reject: ((reason: SciStreamError) => void) | undefined;

  /**
   * @param timeoutMs From the request to HELLO.
   * @param onTimeout Called when HELLO is late and no caller waits to be told.
   */
  constructor(
    private readonly uid: string,
    private readonly timeoutMs: number,
    private readonly onTimeout: (late: SciStreamError) => void,
  ) {
    this.#greeted = new Promise((resolve) => (this.#greet = resolve));
  }

  /** Whether a caller waits. */
  get waiting(): boolean {
    return this.#reject !== undefined;
  }

  /**
   * Waits until the listeners are reserved and HELLO is accepted.
   * @param client Aborts when the caller disconnects.
   * @throws SCI_HELLO_TIMEOUT, SCI_CLIENT_GONE, the reason of `abandon`, or why the reservation failed
   */
  async wait(reserved: Promise<void>, client: AbortSignal): Promise<void> {
    const abandoned = new Promise<never>((_resolve, reject) => (this.#reject = reject));
    const gone = (): void =>
      this.abandon(
        new SciStreamError('SCI_CLIENT_GONE', `The client of stream ${this.uid} disconnected before HELLO.`),
      );
    this.startTimeout(this.timeoutMs);
    client.addEventListener('abort', gone, { once: true });
    if (client.aborted) gone();
    try {
      await Promise.race([reserved.then(() => this.#greeted), abandoned]);
    } finally {
      this.stop();
      client.removeEventListener('abort', gone);
      this.#reject = undefined;
    }
  }

  /** Starts the HELLO timeout, instead of an earlier one. */
  startTimeout(ms: number): void {
    this.#timer.after(ms, () => {
      const late = new SciStreamError(
        'SCI_HELLO_TIMEOUT',
        `No HELLO for stream ${this.uid} arrived within ${formatDuration(this.timeoutMs)}.`,
        { suggestions: ['Send HELLO for the uid from the application controller, or use scistream stream up.'] },
      );
      if (this.#reject) this.#reject(late);
      else this.onTimeout(late);
    });
  }

  /** Ends the wait of the caller successfully, now or as soon as it waits. */
  answer(): void {
    this.#greet();
  }

  /** Ends the wait of the caller with an error. Does nothing when no caller waits. */
  abandon(reason: SciStreamError): void {
    this.#reject?.(reason);
  }

  /** Stops the HELLO timeout. */
  stop(): void {
    this.#timer.stop();
  }
}
