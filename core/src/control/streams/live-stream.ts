/** What the parts of one live stream share: its record and the table behind it, the queue of its changes, its timers. */
import { EventEmitter, once } from 'node:events';
import type { Address } from '../../contracts/address.js';
import type { SciStreamError } from '../../contracts/errors.js';
import type { Gateway } from '../../contracts/gateway.js';
import type { Logger } from '../../contracts/logger.js';
import type { StoreOptions, StreamStore } from '../../contracts/stream-store.js';
import type { StreamEvent, StreamRecord } from '../../contracts/stream.js';
import { Queue, within } from '../../contracts/wait.js';
import { next, type Action, type ActionsOf, type LifeEvent } from './life.js';

/** Node.js stores a timer delay in 31 bits, ms. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** How long a stopping daemon waits for a gateway that does not answer, ms. The next process repeats the call. */
const DETACH_MS = 10_000;

/** What a live stream needs from its control server. */
export interface StreamParts {
  readonly store: StreamStore;
  /** The gateway of that name. @throws SCI_CONFIG_INVALID if the configuration names no such gateway */
  readonly gatewayOf: (name: string) => Gateway;
  readonly log: Logger;
  readonly helloTimeoutMs: number;
  /** Checks that the listeners of a move close no loop. @returns Ends the check @throws SCI_TARGETS_INVALID */
  readonly claimListeners: (stream: StreamRecord, listeners: readonly Address[]) => () => void;
  /** Called when a gateway may still hold something of a stream that no later call frees. */
  readonly onStray: (gateway: string) => void;
  /** Called once, when the stream has reached a final state. */
  readonly onEnd: (uid: string) => void;
}

/** The change, history entry and options that are stored with an event of the life table. */
export interface Stored {
  readonly change?: Omit<Partial<StreamRecord>, 'state'>;
  /** For the history of the stream. */
  readonly note?: StreamEvent;
  readonly options?: StoreOptions;
}

/** One stream: the only writer of its record. The life table decides about every event. */
export class LiveStream {
  readonly #changes = new EventEmitter().setMaxListeners(0);
  readonly #queue = new Queue();
  #record: StreamRecord;
  #stored = false;
  #over: SciStreamError | undefined;
  #detached = false;
  /** Aborts the gateway call in progress. */
  #interrupt: ((reason: SciStreamError) => void) | undefined;

  constructor(
    record: StreamRecord,
    readonly parts: StreamParts,
  ) {
    this.#record = record;
  }

  /** The record as stored. */
  get record(): StreamRecord {
    return this.#record;
  }

  /** Whether the store has the record. */
  get stored(): boolean {
    return this.#stored;
  }

  /** The first reason for which the stream was to end. */
  get over(): SciStreamError | undefined {
    return this.#over;
  }

  /** Whether this process no longer manages the stream. */
  get detached(): boolean {
    return this.#detached;
  }

  /** The gateway that the stream is on. */
  get gateway(): Gateway {
    return this.parts.gatewayOf(this.#record.gateway);
  }

  /** Stores the record of a new stream. */
  async create(note: StreamEvent): Promise<void> {
    await this.parts.store.create(this.#record, note);
    this.#stored = true;
  }

  /** Marks the record as one that an earlier process has stored. */
  markStored(): void {
    this.#stored = true;
  }

  /**
   * Applies an event: stores the next state of the life table together with `stored`, then runs the action of the table.
   * @param actions One for every action that the table has for this event.
   * @returns false when the table ignores the event in the present state
   * @throws What the table rejects the event with, SCI_STATE_WRITE, or what the action raises
   */
  async apply<E extends LifeEvent>(event: E, actions: ActionsOf<E>, stored: Stored = {}): Promise<boolean> {
    const step = next(event, this.#record);
    if (!step) return false;
    const { change = {}, note, options } = stored;
    const changed = step.to !== this.#record.state || Object.keys(change).length > 0;
    if (changed) await this.#store({ ...change, state: step.to }, note, options);
    const all: Partial<Record<Action, () => Promise<unknown> | void>> = actions;
    if (step.action) await all[step.action]?.();
    return true;
  }

  /** Settles at the next change of the record. @param signal Its abort rejects the promise. */
  async changed(signal: AbortSignal): Promise<void> {
    await once(this.#changes, 'change', { signal }).catch(() => signal.throwIfAborted());
  }

  /** Runs `work` after all earlier work of this stream. */
  serial<T>(work: () => Promise<T>): Promise<T> {
    return this.#queue.run(work);
  }

  /**
   * Runs a gateway call with a signal that aborts when the stream is to end. One call at a time.
   * The signal lives no longer than the call, because it needs 1.5 kB and a stream lives for days.
   */
  async interruptible<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const abort = new AbortController();
    this.#interrupt = (reason) => abort.abort(reason);
    if (this.#over) abort.abort(this.#over);
    try {
      return await call(abort.signal);
    } finally {
      this.#interrupt = undefined;
    }
  }

  /** Interrupts the gateway call in progress because the stream is to end. @returns the first reason */
  interrupt(reason: SciStreamError): SciStreamError {
    const first = (this.#over ??= reason);
    this.#interrupt?.(first);
    return first;
  }

  /** Leaves the stream to the next process. Waits for the change in progress, but not without limit. Never rejects. */
  async detach(): Promise<void> {
    this.#detached = true;
    const finished = this.serial(() => Promise.resolve());
    await within(finished, DETACH_MS, () => new Error('late')).catch(() => {
      this.parts.log.warn(
        { uid: this.#record.uid },
        'stopping without the answer of the gateway; the next start repeats the call',
      );
    });
  }

  /** A stream that could not be stored changes in memory only. */
  async #store(change: Partial<StreamRecord>, note?: StreamEvent, options?: StoreOptions): Promise<void> {
    const { uid, version } = this.#record;
    this.#record = this.#stored
      ? await this.parts.store.update(uid, version, change, note, options)
      : { ...this.#record, ...change };
    this.parts.log.debug({ uid, state: this.#record.state }, 'stream changed');
    this.#changes.emit('change');
  }
}

/** An event for the history of a stream, with the present time. */
export const happened = (what: StreamEvent['what'], by?: string, detail?: string): StreamEvent => ({
  at: new Date().toISOString(),
  what,
  ...(by ? { by } : {}),
  ...(detail ? { detail } : {}),
});

/** A timer of a stream. It does not keep the process alive, and it may be set further ahead than Node.js allows. */
export class StreamTimer {
  #timer: NodeJS.Timeout | undefined;

  /** Calls `then` at a time (ISO 8601), unless the timer is set again or stopped before. */
  until(at: string, then: () => void): void {
    const left = Date.parse(at) - Date.now();
    if (left <= LONGEST_TIMER_MS) return this.after(left, then);
    this.after(LONGEST_TIMER_MS, () => this.until(at, then));
  }

  /** Calls `then` after `ms`, unless the timer is set again or stopped before. */
  after(ms: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, Math.max(0, ms)).unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
