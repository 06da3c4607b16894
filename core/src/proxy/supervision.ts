import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerRef, ContainerState } from '../contracts/container-runtime.js';
import { messageOf, S2DSException, SciStreamError, systemCode, type ErrorCode } from '../contracts/errors.js';
import type { PluginContext } from '../contracts/plugin.js';
import { backOff, retry } from '../contracts/wait.js';
import { logEnd } from './start.js';

/** Restarts of an instance within `WINDOW_MS`. After one more death, the stream fails. */
const MAX_RESTARTS = 5;
const WINDOW_MS = 60_000;
/** Pause before the second restart within the window. It doubles with each restart. The first restart is immediate. */
const BACK_OFF_MS = 200;
/** Maximum pause between attempts that fail because of the runtime or the machine. Their number has no limit. */
const MAX_BACK_OFF_MS = 5_000;
/** Pause before the next attempt to watch an instance whose state is unknown. */
const WATCH_RETRY_MS = 500;

/** Failures that are not caused by the program: an unreachable runtime, a full disk, a port that another program uses. */
const OBSTACLES: readonly ErrorCode[] = [
  'SCI_RUNTIME_UNREACHABLE',
  'SCI_RUNTIME_FAILED',
  'SCI_STATE_WRITE',
  'SCI_PORT_TAKEN',
  'SCI_LISTENER_ADDRESS',
];
const isObstacle = (error: unknown): boolean =>
  SciStreamError.is(error) ? OBSTACLES.includes(error.code) : systemCode(error) !== undefined;

/** The restart of one instance. */
interface Attempt {
  /** The reason, as the predicate of a sentence about the proxy. */
  readonly what: string;
  /** The last death of the program. */
  why: S2DSException;
  /** True if `why` counts among the deaths already. */
  counted: boolean;
}

/** The stream of a {@link Supervision}. */
export interface SupervisedStream {
  readonly uid: string;
  readonly proxy: string;
  /** Runs `work` while no other call for the stream runs. */
  readonly alone: (work: () => Promise<void>) => Promise<void>;
  /** Replaces instance `index` by a new one with the same listeners and targets. */
  readonly replace: (index: number, signal: AbortSignal) => Promise<ContainerRef>;
  /** Stops the remaining instances of a failed stream, so that no part of it serves connections. */
  readonly end: () => Promise<void>;
}

/**
 * Restarts the instances of one stream that end unexpectedly. The stream fails when an instance ends more than five
 * times within a minute. An obstacle such as an unreachable runtime does not count: the restart is retried until it
 * succeeds.
 */
export class Supervision {
  readonly #stop = new AbortController();
  #settle: (error: S2DSException | undefined) => void = () => undefined;
  /** Times of the recent deaths of each instance, ms of the monotonic clock. */
  readonly #deaths = new Map<number, readonly number[]>();
  /** Indexes of the instances that are restarting, each with the obstacle to its restart. */
  readonly #down = new Map<number, S2DSException | undefined>();
  #restarts = 0;
  #error: S2DSException | undefined;
  readonly #abort = (): void => this.#stop.abort();
  /** Resolves when the stream has ended: with the error if it failed, with undefined if it was released. */
  readonly ended = new Promise<S2DSException | undefined>((resolve) => (this.#settle = resolve));

  constructor(
    private readonly context: PluginContext,
    private readonly stream: SupervisedStream,
  ) {
    // Proxies keep running when the daemon stops. The next daemon adopts them.
    context.signal.addEventListener('abort', this.#abort, { once: true });
    if (context.signal.aborted) this.#abort();
  }

  /** The error of a failed stream. */
  get error(): S2DSException | undefined {
    return this.#error;
  }

  /** Number of restarts of all instances. */
  get restarts(): number {
    return this.#restarts;
  }

  /** True while an instance is restarting. */
  get restarting(): boolean {
    return this.#down.size > 0;
  }

  /** Why an instance is not restarted yet; undefined if no attempt has failed. */
  get obstacle(): S2DSException | undefined {
    return [...this.#down.values()].find((error) => error !== undefined);
  }

  /** Starts to watch a running instance. */
  watch(ref: ContainerRef, index: number): void {
    void this.#watch(ref, index);
  }

  /** Restarts an instance that had ended before the recovery. */
  lost(index: number, state: ContainerState): void {
    void this.#recover(index, state, 'was not running when the gateway started');
  }

  /** Returns true while the instance is restarting. It gets the current targets when it starts. */
  isDown(index: number): boolean {
    return this.#down.has(index);
  }

  /** Stops watching and cancels restarts in progress. The first step of a release. */
  stop(): void {
    this.context.signal.removeEventListener('abort', this.#abort);
    this.#abort();
  }

  /** Resolves `ended` of a released stream. The last step of a release. */
  released(): void {
    this.#settle(undefined);
  }

  /** Watches one instance until it has ended and its restart has succeeded or the stream has failed. Never rejects. */
  async #watch(ref: ContainerRef, index: number): Promise<void> {
    const { signal } = this.#stop;
    const end = async (): Promise<ContainerState> => {
      const state = await this.context.runtime.exited(ref, signal);
      // A restart would close the connections of an instance that still runs.
      if (state.status === 'running') throw new Error('the runtime reported the end of an instance that runs');
      return state;
    };
    const pauseMs = (error: unknown): number => {
      this.context.log.error({ uid: this.stream.uid, error: messageOf(error) }, 'proxy watch failed, retrying');
      return WATCH_RETRY_MS;
    };
    const state = await retry(end, { pauseMs, signal, ref: false }).catch(() => undefined);
    if (state && !signal.aborted) await this.#recover(index, state, 'exited unexpectedly');
  }

  /** Retries the restart until the instance runs, the stream has failed, or {@link stop} was called. Never rejects. */
  async #recover(index: number, state: ContainerState, what: string): Promise<void> {
    const { uid, proxy, alone } = this.stream;
    const { log, runtime } = this.context;
    const { signal } = this.#stop;
    this.#down.set(index, undefined);
    const how = `(${state.exit ?? 'unknown reason'})${await logEnd(runtime, state)}`;
    const attempt: Attempt = { what, why: died(uid, `${proxy} ${what} ${how}`), counted: false };
    let obstacle = '';
    const pauseMs = (error: unknown, failures: number): number => {
      this.#down.set(index, obstacleError(`${proxy} ${what}`, error));
      if (obstacle !== (obstacle = messageOf(error)))
        log.warn({ uid, proxy, error: obstacle }, 'proxy restart failed, retrying');
      return backOff(failures, BACK_OFF_MS, MAX_BACK_OFF_MS);
    };
    // The lock is free during a pause, so that other calls for the stream do not wait for the runtime.
    await retry(() => alone(() => this.#restart(index, attempt)), { pauseMs, signal }).catch(() => undefined);
    this.#down.delete(index);
  }

  /**
   * Returns when the instance runs, or must not run because the stream has ended.
   * @throws the obstacle to a restart
   */
  async #restart(index: number, attempt: Attempt): Promise<void> {
    const { uid, proxy } = this.stream;
    const { signal } = this.#stop;
    while (!signal.aborted && !this.#error) {
      try {
        if (!attempt.counted) await this.#pause(index, attempt.why);
        attempt.counted = true;
        if (this.#error) break;
        const ref = await this.stream.replace(index, signal);
        this.#down.delete(index);
        this.watch(ref, index);
        this.#restarts += 1;
        this.context.onRestart?.(uid, attempt.why.message);
        break;
      } catch (error) {
        if (isObstacle(error)) throw error;
        attempt.why = died(uid, `${proxy} ${attempt.what} and cannot be restarted: ${messageOf(error)}`, error);
        attempt.counted = false;
      }
    }
  }

  /** Waits before a restart, longer after each death, or fails the stream after too many deaths. */
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
      const pauseMs = backOff(deaths.length - 1, BACK_OFF_MS, MAX_BACK_OFF_MS);
      await sleep(pauseMs, undefined, { signal: this.#stop.signal });
    }
  }
}

/** Says why a proxy does not run, with the code and the suggestions of the obstacle. */
function obstacleError(what: string, cause: unknown): S2DSException {
  const known = SciStreamError.is(cause) ? cause : undefined;
  const message = `${what} and is not restarted yet: ${messageOf(cause)}`;
  return new S2DSException(known?.code ?? 'SCI_RUNTIME_FAILED', message, {
    cause,
    suggestions: known?.suggestions ?? [],
  });
}

const died = (uid: string, message: string, cause?: unknown): S2DSException =>
  new S2DSException('SCI_PROXY_DIED', message, {
    cause,
    suggestions: [`Release the stream and create it again: scistream stream down ${uid}`],
  });
