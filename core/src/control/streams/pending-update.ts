import { formatTarget, type Target } from '../../contracts/address.js';
import { messageOf, toSciStreamError } from '../../contracts/errors.js';
import type { StreamRecord } from '../../contracts/stream.js';
import { undoEvent } from './life.js';
import { happened, StreamTimer, type LiveStream } from './live-stream.js';

/** Delay before the gateway is called again about an update with an unknown result, ms. */
const SETTLE_RETRY_MS = 3_000;

/**
 * The update of one stream that is in progress, or whose result is unknown. Owns the retry timer. All methods except `stop`
 * run while nothing else changes the stream.
 */
export class PendingUpdate {
  readonly #retry = new StreamTimer();

  constructor(private readonly stream: LiveStream) {}

  /**
   * Sets the targets. When it throws, the previous targets stay in force. If the gateway did not answer, the stream stays
   * `updating` and the previous targets are set again when it answers.
   * @throws SCI_STREAM_STATE before HELLO, SCI_STREAM_FAILED, or what the gateway raised
   */
  async run(targets: readonly Target[], by: string): Promise<void> {
    const before = this.stream.record;
    const setTargets = async (): Promise<void> => {
      let set = false;
      try {
        await this.#setTargets(targets);
        set = true;
        await this.#updated(targets, by);
      } catch (error) {
        // A gateway that did not answer may still apply the targets, now or when it comes back.
        const unknown = set || toSciStreamError(error).code === 'SCI_S2DS_UNREACHABLE';
        if (unknown) await this.stream.apply('unsettled', { retry: () => this.#retryLater() });
        else await this.#undo(before);
        throw error;
      }
    };
    await this.stream.apply('update', { setTargets }, { change: { asked: targets } });
  }

  /**
   * Settles an update whose result is unknown, because the control server restarted or the gateway did not answer: sets the
   * previous targets again. A first update has no previous targets, so it is carried out instead. Retries until it succeeds
   * or the next update replaces it. Never rejects.
   */
  async settle(): Promise<void> {
    const { uid, targets, asked = [] } = this.stream.record;
    const first = targets.length === 0;
    try {
      if (!first || asked.length > 0) await this.#setTargets(first ? asked : targets);
      if (!first) await this.stream.apply('reverted', {});
      else if (asked.length === 0) await this.stream.apply('cleared', {});
      else await this.#updated(asked, undefined, ', by an interrupted update');
    } catch (error) {
      this.stream.parts.log.warn({ uid, error: messageOf(error) }, 'targets not set, retrying in 3 s');
      this.#retryLater();
    }
  }

  /** Stops the retries. */
  stop(): void {
    this.#retry.stop();
  }

  #setTargets(targets: readonly Target[]): Promise<void> {
    const { uid } = this.stream.record;
    return this.stream.interruptible((signal) => this.stream.gateway.updateTargets(uid, targets, signal));
  }

  async #updated(targets: readonly Target[], by: string | undefined, how = ''): Promise<void> {
    const inForce = this.stream.record.listeners.flatMap((_, i) => targets[i % targets.length] ?? []);
    const note = happened('targets', by, `${targets.map(formatTarget).join(' ')}${how}`);
    await this.stream.apply('updated', {}, { change: { targets: inForce }, note });
  }

  /** Undoes the change of the record after an update without effect. Never rejects. */
  async #undo(before: StreamRecord): Promise<void> {
    const change = { asked: before.asked ?? [] };
    const undone = this.stream.apply(undoEvent(before), { retry: () => this.#retryLater() }, { change });
    await undone.catch(() => this.#retryLater());
  }

  #retryLater(): void {
    const { stream } = this;
    const retry = async (): Promise<void> => {
      if (!stream.detached && !stream.over) await stream.apply('settle', { settle: () => this.settle() });
    };
    this.#retry.after(SETTLE_RETRY_MS, () => void stream.serial(retry));
  }
}
