import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerRef, ContainerState } from './container-runtime.js';
import { messageOf, S2DSException } from './errors.js';
import type { PluginContext } from './plugin.js';
import { lastWords } from './proxy-instance.js';

/** A program that ends more often than this in `WINDOW_MS` is given up. */
const MAX_RESTARTS = 5;
const WINDOW_MS = 60_000;
/** Pause before the second restart in that time, then twice as long each; the first is made at once. */
const BACK_OFF_MS = 200;
/** Before an instance is watched again whose runtime could not tell how it is. */
const WATCH_AGAIN_MS = 500;

/** What {@link Supervision} needs of the stream it watches over. */
export interface SupervisedStream {
  readonly uid: string;
  readonly proxy: string;
  /** Runs nothing else for the stream meanwhile. */
  readonly alone: (work: () => Promise<void>) => Promise<void>;
  /** Makes instance `index` anew: same addresses, same targets. */
  readonly replace: (index: number, signal: AbortSignal) => Promise<ContainerRef>;
  /** Ends all that still runs of a stream that is given up: nobody must be served by half of it. */
  readonly end: () => Promise<void>;
}

/** Keeps the instances of one stream alive: one that ends by itself is started again, until that happens too often. */
export class Supervision {
  readonly #stop = new AbortController();
  #settle: (error: S2DSException | undefined) => void = () => undefined;
  /** When the program of each instance ended by itself lately, ms. */
  readonly #deaths = new Map<number, readonly number[]>();
  /** Instances that do not run, and are being started again. */
  readonly #down = new Set<number>();
  #restarts = 0;
  #error: S2DSException | undefined;
  readonly #leave = (): void => this.#stop.abort();
  /** Settles when the stream has ended: with the error when it was given up, with undefined when it was released. */
  readonly ended = new Promise<S2DSException | undefined>((resolve) => (this.#settle = resolve));

  constructor(
    private readonly context: PluginContext,
    private readonly stream: SupervisedStream,
  ) {
    // A host that stops leaves its streams to the next one, which watches over them then.
    context.signal.addEventListener('abort', this.#leave, { once: true });
    if (context.signal.aborted) this.#leave();
  }

  /** Why the stream was given up. */
  get error(): S2DSException | undefined {
    return this.#error;
  }

  /** How often an instance was started again. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Whether an instance is being started again just now. */
  get restarting(): boolean {
    return this.#down.size > 0;
  }

  /** Begins to watch an instance that runs. */
  watch(ref: ContainerRef, index: number): void {
    void this.#watch(ref, index);
  }

  /** Starts an instance again that had ended before anybody watched it. */
  lost(index: number, state: ContainerState): void {
    void this.#revive(index, state, 'did not run any more when the gateway was started');
  }

  /** Whether an instance does not run, and gets its present targets when it is started again. */
  isDown(index: number): boolean {
    return this.#down.has(index);
  }

  /** Ends the watching, also a restart that is under way. Called first when a stream is released. */
  stop(): void {
    this.context.signal.removeEventListener('abort', this.#leave);
    this.#leave();
  }

  /** Says that the stream was released. */
  released(): void {
    this.#settle(undefined);
  }

  /** Returns when the instance has ended, and was started again or given up. Never rejects. */
  async #watch(ref: ContainerRef, index: number): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const state = await this.context.runtime.exited(ref, signal);
        if (signal.aborted) return;
        // One that runs after all is left alone: its connections would end with it.
        if (state.status !== 'running') return await this.#revive(index, state, 'ended by itself');
      } catch (error) {
        if (signal.aborted) return;
        this.context.log.error({ uid: this.stream.uid, error: messageOf(error) }, 'cannot watch proxy, trying again');
      }
      await sleep(WATCH_AGAIN_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /** Never rejects. */
  async #revive(index: number, state: ContainerState, what: string): Promise<void> {
    const { uid, proxy } = this.stream;
    const signal = this.#stop.signal;
    this.#down.add(index);
    const how = `(${state.exit ?? 'unknown reason'})${await lastWords(this.context.runtime, state)}`;
    let why = died(uid, `${proxy} ${what} ${how}`);
    await this.stream.alone(async () => {
      while (!signal.aborted && !this.#error) {
        this.context.log.warn({ uid, proxy, exit: state.exit, error: why.message }, 'proxy ended by itself');
        try {
          await this.#pause(index, why);
          if (this.#error) break;
          const ref = await this.stream.replace(index, signal);
          this.#down.delete(index);
          this.watch(ref, index);
          this.#restarts += 1;
          this.context.onRestart?.(uid, why.message);
          break;
        } catch (error) {
          why = died(uid, `${proxy} ${what} and cannot be started again: ${messageOf(error)}`, error);
        }
      }
    });
    this.#down.delete(index);
  }

  /** Waits longer from death to death, or gives the stream up when there were too many of one instance. */
  async #pause(index: number, why: S2DSException): Promise<void> {
    const now = Date.now();
    const deaths = [...(this.#deaths.get(index) ?? []).filter((death) => death > now - WINDOW_MS), now];
    this.#deaths.set(index, deaths);
    if (deaths.length > MAX_RESTARTS) {
      this.#error = why;
      await this.stream.end();
      this.#settle(why);
    } else if (deaths.length > 1) {
      await sleep(BACK_OFF_MS * 2 ** (deaths.length - 2), undefined, { signal: this.#stop.signal });
    }
  }
}

const died = (uid: string, message: string, cause?: unknown): S2DSException =>
  new S2DSException('SCI_PROXY_DIED', message, {
    cause,
    suggestions: [`Release the stream and make it again: scistream stream down ${uid}`],
  });
