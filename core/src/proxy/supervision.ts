import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerRef, ContainerState } from '../contracts/container-runtime.js';
import { messageOf, S2DSException, SciStreamError, systemCode, type ErrorCode } from '../contracts/errors.js';
import type { PluginContext } from '../contracts/plugin.js';
import { lastWords } from './instance.js';

/** A program that ends more often than this in `WINDOW_MS` is given up. */
const MAX_RESTARTS = 5;
const WINDOW_MS = 60_000;
/** Pause before the second restart in that time, then twice as long each; the first is made at once. */
const BACK_OFF_MS = 200;
/** The longest pause between two attempts that fail because of the runtime or the machine, which are made without end. */
const MAX_BACK_OFF_MS = 5_000;
/** Before an instance is watched again whose runtime could not tell how it is. */
const WATCH_AGAIN_MS = 500;

/** Failures that say nothing about the program: the runtime is away, or nothing can be written on a full disk. */
const OBSTACLES: readonly ErrorCode[] = ['SCI_RUNTIME_UNREACHABLE', 'SCI_RUNTIME_FAILED', 'SCI_STATE_WRITE'];
const isObstacle = (error: unknown): boolean =>
  SciStreamError.is(error) ? OBSTACLES.includes(error.code) : systemCode(error) !== undefined;

/** To start one instance again. */
interface Attempts {
  /** How it came to that, after the name of the proxy. */
  readonly what: string;
  /** The last death of its program. */
  why: S2DSException;
  /** Whether that is among the deaths already. */
  counted: boolean;
}

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

/**
 * Keeps the instances of one stream alive: one that ends by itself is started again, until that happens too often. What
 * keeps any program from being started, such as a runtime that is away, does not count, and is waited out.
 */
export class Supervision {
  readonly #stop = new AbortController();
  #settle: (error: S2DSException | undefined) => void = () => undefined;
  /** When the program of each instance ended by itself lately, ms of a clock that nobody sets. */
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
    void this.#revive(index, state, 'was not running when the gateway started');
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
        if (state.status !== 'running') return await this.#revive(index, state, 'exited unexpectedly');
      } catch (error) {
        if (signal.aborted) return;
        this.context.log.error({ uid: this.stream.uid, error: messageOf(error) }, 'proxy watch failed, retrying');
      }
      await sleep(WATCH_AGAIN_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /** Starts an instance again, until it runs, the stream is given up, or the watching ends. Never rejects. */
  async #revive(index: number, state: ContainerState, what: string): Promise<void> {
    const { uid, proxy, alone } = this.stream;
    const { log, runtime } = this.context;
    const { signal } = this.#stop;
    this.#down.add(index);
    const how = `(${state.exit ?? 'unknown reason'})${await lastWords(runtime, state)}`;
    const attempts: Attempts = { what, why: died(uid, `${proxy} ${what} ${how}`), counted: false };
    let obstacle = '';
    for (let pauseMs = BACK_OFF_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_BACK_OFF_MS)) {
      let error: unknown;
      await alone(async () => void (error = await this.#startAgain(index, attempts)));
      if (error === undefined || signal.aborted) break;
      if (obstacle !== (obstacle = messageOf(error)))
        log.warn({ uid, proxy, error: obstacle }, 'proxy restart failed, retrying');
      // Without the lock: who wants something else of the stream need not wait until its runtime is back.
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
    this.#down.delete(index);
  }

  /** @returns What keeps any program from being started; undefined when it runs again or is not to run any more */
  async #startAgain(index: number, attempts: Attempts): Promise<unknown> {
    const { uid, proxy } = this.stream;
    const { signal } = this.#stop;
    while (!signal.aborted && !this.#error) {
      try {
        if (!attempts.counted) await this.#pause(index, attempts.why);
        attempts.counted = true;
        if (this.#error) break;
        const ref = await this.stream.replace(index, signal);
        this.#down.delete(index);
        this.watch(ref, index);
        this.#restarts += 1;
        this.context.onRestart?.(uid, attempts.why.message);
        break;
      } catch (error) {
        if (isObstacle(error)) return error;
        attempts.why = died(uid, `${proxy} ${attempts.what} and cannot be restarted: ${messageOf(error)}`, error);
        attempts.counted = false;
      }
    }
    return undefined;
  }

  /** Waits longer from death to death, or gives the stream up when there were too many of one instance. */
  async #pause(index: number, why: S2DSException): Promise<void> {
    this.context.log.warn(
      { uid: this.stream.uid, proxy: this.stream.proxy, error: why.message },
      'proxy exited unexpectedly',
    );
    const now = performance.now();
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
    suggestions: [`Release the stream and create it again: scistream stream down ${uid}`],
  });
