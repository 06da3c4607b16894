import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, S2DSException, SciStreamError } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import type { ReservedListener } from '../contracts/port-allocator.js';
import type { S2DS } from '../contracts/s2ds.js';
import { formatDuration } from '../contracts/units.js';
import { retry } from '../contracts/wait.js';
import { requestOf, type GatewayStream } from './store.js';
import { DONE, type GatewayParts, type Stream } from './stream.js';

/** Pause between two attempts, ms. */
const RETRY_MS = 2_000;

interface Context {
  readonly uid: string;
  /** Makes the error for calls that need the stream, from why the last attempt failed. */
  readonly explain: (reason: unknown) => S2DSException;
  /** Aborts when the gateway closes. */
  readonly closing: AbortSignal;
  readonly log: Logger;
}

/** Retries to recover or release one stream, in most cases because its runtime does not answer. */
export class Recovery {
  readonly #stop = new AbortController();
  /** Settles when no attempt follows. */
  readonly #over: Promise<void>;

  /**
   * @param lastReason Why the first attempt failed.
   * @param attempt Called until it resolves.
   */
  constructor(
    private lastReason: unknown,
    attempt: (signal: AbortSignal) => Promise<void>,
    private readonly context: Context,
  ) {
    const { uid, closing, log } = context;
    log.error(
      { uid, error: messageOf(lastReason) },
      `stream neither recovered nor released; retrying every ${formatDuration(RETRY_MS)}`,
    );
    this.#over = this.#retry(attempt, AbortSignal.any([this.#stop.signal, closing])).catch(() => undefined);
  }

  /** Why the last attempt failed. */
  get reason(): unknown {
    return this.lastReason;
  }

  /** Prevents further attempts. */
  stop(): void {
    this.#stop.abort();
  }

  /** Settles when the stream is recovered or released. Never settles when the gateway closes first: the stream continues. */
  async settled(): Promise<void> {
    await this.#over;
    if (this.context.closing.aborted) await new Promise(() => undefined);
  }

  /** Waits until no attempt runs, after `closing` has aborted. */
  async close(): Promise<void> {
    await this.#over;
  }

  /** {@link reason} as the error of a status. */
  get obstacle(): S2DSException {
    const { reason } = this;
    if (S2DSException.is(reason)) return reason;
    return new S2DSException('SCI_RUNTIME_FAILED', messageOf(reason), { cause: reason });
  }

  /** The error for calls that need the stream. */
  get error(): S2DSException {
    return this.context.explain(this.reason);
  }

  /** Rejects only when `signal` aborts. */
  async #retry(attempt: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    const pauseMs = (error: unknown): number => {
      if (messageOf(error) !== messageOf(this.reason)) {
        this.lastReason = error;
        this.context.log.error({ uid: this.context.uid, error: messageOf(error) }, 'stream still not recovered');
      }
      return RETRY_MS;
    };
    // The first attempt has failed before.
    await sleep(RETRY_MS, undefined, { signal });
    await retry(() => attempt(signal), { pauseMs, signal });
  }
}

/** The error for calls that need a stream that is not recovered. */
export function notRecovered(uid: string, cause: unknown): S2DSException {
  if (SciStreamError.is(cause) && cause.code === 'SCI_STATE_DAMAGED')
    return new S2DSException(cause.code, cause.message, { cause, suggestions: cause.suggestions });
  const message = `Stream ${uid} has not been recovered since the daemon started: ${messageOf(cause)}`;
  return new S2DSException('SCI_RUNTIME_UNREACHABLE', message, {
    cause,
    suggestions: [
      'See the log of the daemon, and retry when the runtime answers.',
      'If its plugin was removed, install it again, and restart the daemon. The stream keeps its ports until then.',
    ],
  });
}

/**
 * Recovers a stream of an earlier process: adopts or restarts its proxy, and sets its targets.
 * @param carry Makes it a stream of this gateway.
 */
export async function recoverStream(
  { closing, log, plugins, store }: GatewayParts,
  uid: string,
  listeners: readonly ReservedListener[],
  carry: (s2ds: S2DS, record: GatewayStream) => Stream,
): Promise<void> {
  const record = await store.complete(uid);
  if (!record) return;
  const { proxy, runtime, state, targets, inForce } = record;
  const s2ds = await plugins.s2ds(proxy, runtime);
  const request = requestOf(uid, record, listeners);
  const running = await s2ds.adopt(request, targets);
  const stream = carry(s2ds, record);
  if (state === 'reserved') {
    // Another program may have taken a port since; then the start of the proxy fails and says so.
    await Promise.allSettled(listeners.map((listener) => listener.bind()));
    return;
  }
  if (!running) {
    log.warn({ uid, proxy }, 'proxy of a stream not running; restarting');
    await s2ds.start(request, closing);
    if (state === 'running') await stream.countRestart('The proxy was not running when the gateway started.');
  }
  // Also if it runs: the earlier process may have died after it stored the targets and before it set them.
  const doubtful = targets.length > 0 && !(running && inForce);
  if (doubtful) await s2ds.updateTargets(uid, targets, closing);
  if (doubtful || state !== 'running') await stream.change({ state: 'running', inForce: true }, DONE);
  log.info({ uid, proxy, running }, 'stream recovered');
}
