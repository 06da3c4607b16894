import type { Target } from '../contracts/address.js';
import { messageOf, type S2DSException } from '../contracts/errors.js';
import type { Reservation } from '../contracts/gateway.js';
import type { ReservedListener } from '../contracts/port-allocator.js';
import type { ListenerStatistics, S2DSStatus } from '../contracts/stream.js';
import { Queue } from '../contracts/wait.js';
import { notRecovered, recoverStream, Recovery } from './recovery.js';
import { lastCounters, notReleased, releaseStream } from './release.js';
import { reservationOf, reserveStream } from './reservation.js';
import { mustEqual, type GatewayStream } from './store.js';
import { DONE, ENDING, isUnknown, Stream, unknownStream, type GatewayParts } from './stream.js';

type Command = (stream: Stream, signal: AbortSignal) => Promise<void>;

/**
 * The calls for one uid. One queue runs them one after another, also when a caller repeats a call while the first one
 * runs. A release takes its turn after the reservation, but waits for no other call: it aborts them.
 */
export class StreamHandle {
  readonly #queue = new Queue();
  /** Absent before the reservation and after the release. */
  #stream: Stream | undefined;
  /** Present while a stream of an earlier process is not recovered. */
  #recovery: Recovery | undefined;

  /** @param onEmpty Called when nothing is left of the stream and no call waits. */
  constructor(
    private readonly uid: string,
    private readonly gateway: GatewayParts,
    private readonly onEmpty: () => void,
  ) {}

  /** @throws SCI_STREAM_NOT_FOUND; SCI_RUNTIME_UNREACHABLE or SCI_STATE_DAMAGED while the stream is not recovered */
  get stream(): Stream {
    if (this.#stream) return this.#stream;
    throw this.#recovery?.error ?? unknownStream(this.gateway.settings.name, this.uid);
  }

  get isReserved(): boolean {
    return this.#stream !== undefined;
  }

  /** Why the stream is still being released and keeps its ports; undefined if it is not. */
  get unreleased(): unknown {
    return this.gateway.store.get(this.uid)?.state === 'releasing' ? this.#recovery?.reason : undefined;
  }

  /** As `Gateway.reserve`. */
  reserve(request: Pick<GatewayStream, 'spec' | 'tls'>): Promise<Reservation> {
    return this.#turn(async () => {
      const { name } = this.gateway.settings;
      if (this.#stream || this.#recovery) mustEqual(name, this.uid, request, this.stream.record);
      else this.#stream = await reserveStream(this.gateway, this.uid, request);
      return reservationOf(name, this.stream);
    });
  }

  /** As `Gateway.status`. */
  async status(): Promise<S2DSStatus> {
    const { stream } = this;
    try {
      return await stream.status();
    } catch (error) {
      if (!this.#recovery || !isUnknown(error)) throw error;
      const restarts = stream.record.restarts?.count ?? 0;
      return { state: 'restarting', restarts, listeners: [], error: this.#recovery.obstacle };
    }
  }

  /** As `Gateway.start`. */
  start(signal: AbortSignal): Promise<void> {
    return this.#command(signal, async (stream, until) => {
      // An earlier call may have started the stream and its answer been lost.
      if (stream.record.state === 'running') return;
      await stream.change({ state: 'starting' });
      await this.gateway.starts(async () => {
        until.throwIfAborted();
        await stream.s2ds.start(stream.request, until);
      });
      // The stream runs, even if the caller is gone by now.
      await stream.change({ state: 'running', ...stream.probing }, DONE);
    });
  }

  /** As `Gateway.updateTargets`. */
  updateTargets(targets: readonly Target[], signal: AbortSignal): Promise<void> {
    return this.#command(signal, async (stream, until) => {
      const before = stream.record.targets;
      // Stored first: if this process dies before the proxy has the targets, the next process sets them.
      await stream.change({ targets, inForce: false });
      try {
        await stream.s2ds.updateTargets(this.uid, targets, until);
      } catch (error) {
        // The proxy does not run. It gets the stored targets as soon as it is recovered.
        if (this.#recovery && isUnknown(error)) return;
        if (!stream.released.aborted) await stream.change({ targets: before }, ENDING);
        throw error;
      }
      await stream.change({ targets, inForce: true }, DONE);
    });
  }

  /** As `Gateway.release`. Also releases a stream that is not recovered. If it fails, it is retried in the background. */
  release(keepPortsUntil?: string): Promise<readonly ListenerStatistics[]> {
    this.#stream?.abort();
    this.#recovery?.stop();
    return this.#turn(async () => {
      // A release that failed while this one waited has left another recovery.
      this.#recovery?.stop();
      const stream = this.#stream;
      const known = stream?.record ?? this.gateway.store.get(this.uid);
      if (!known) return [];
      stream?.abort();
      const last = stream ? await lastCounters(this.gateway, this.uid, stream) : [];
      const record = { ...known, state: 'releasing' as const, ...(keepPortsUntil && { keepPortsUntil }) };
      // From here on every attempt, also of a later process, ends the stream.
      await this.gateway.store.put(this.uid, record, ENDING);
      await this.#end(record, stream);
      if (this.#recovery) throw this.#recovery.error;
      return last;
    });
  }

  /** Counts a restart. Never rejects. */
  async noteRestart(reason: string): Promise<void> {
    const { closing, log } = this.gateway;
    await this.#turn(async () => {
      if (this.#stream && !this.#stream.released.aborted && !closing.aborted) await this.#stream.countRestart(reason);
    }).catch((error: unknown) => log.error({ uid: this.uid, error: messageOf(error) }, 'restart not stored'));
  }

  /**
   * Recovers the stream of an earlier process, whatever state that process left it in. Resolves after the first attempt;
   * if that fails, others follow in the background. Call it first.
   */
  recover(listeners: readonly ReservedListener[]): Promise<void> {
    return this.#turn(async () => {
      const { uid } = this;
      const record = this.gateway.store.get(uid);
      if (record?.state === 'releasing') await this.#end(record);
      else
        await this.#attempt(
          () => this.#recover(listeners),
          (reason) => notRecovered(uid, reason),
        );
    });
  }

  /** Resolves when the stream is recovered or released. Never settles when the gateway closes first: the stream continues. */
  async recovered(): Promise<void> {
    await this.#recovery?.settled();
  }

  async #recover(listeners: readonly ReservedListener[]): Promise<void> {
    await recoverStream(this.gateway, this.uid, listeners, (s2ds, found) => {
      // An earlier attempt may have come this far, and callers may wait for its stream.
      return (this.#stream ??= new Stream(this.gateway, { uid: this.uid, s2ds, listeners }, found));
    });
  }

  /** Closes the handle after `closing` has aborted. The stream continues. */
  async close(): Promise<void> {
    await this.#recovery?.close();
    await this.#stream?.close();
  }

  /** Runs a call when those before it are over, or have been aborted by a release. */
  async #turn<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await this.#queue.run(call);
    } finally {
      if (this.#queue.isIdle && !this.#stream && !this.#recovery) this.onEmpty();
    }
  }

  /** Runs a call that needs the stream. A release ends its turn immediately, even if the data server does not react. */
  async #command(signal: AbortSignal, command: Command): Promise<void> {
    const { stream } = this;
    const until = AbortSignal.any([signal, stream.released]);
    await this.#turn(() => {
      until.throwIfAborted();
      return unlessAborted(command(stream, until), stream.released);
    });
  }

  /** Ends a stream in state `releasing`. Call it in a turn. Never rejects. */
  async #end(record: GatewayStream, stream?: Stream): Promise<void> {
    const { gateway, uid } = this;
    // A start that failed, or an earlier process, may have left an instance that the data server does not know.
    let isClean = stream?.record.state === 'running';
    this.#stream = undefined;
    this.#recovery = undefined;
    const release = async (): Promise<void> => {
      const clean = isClean;
      isClean = false;
      await Promise.all([releaseStream(gateway, uid, record, clean), stream?.probes.close()]);
    };
    await this.#attempt(release, (reason) => notReleased(uid, record, reason));
    stream?.gone();
  }

  /** Calls `work`; if that fails, retries in the background until it succeeds. Call it in a turn. Never rejects. */
  async #attempt(work: () => Promise<void>, explain: (reason: unknown) => S2DSException): Promise<void> {
    const { uid } = this;
    const { closing, log } = this.gateway;
    try {
      await work();
    } catch (reason) {
      const retry = (signal: AbortSignal): Promise<void> =>
        this.#turn(async () => {
          signal.throwIfAborted();
          await work();
          this.#recovery = undefined;
        });
      this.#recovery = new Recovery(reason, retry, { uid, explain, closing, log });
    }
  }
}

/** Settles as `work` does, or rejects as soon as `signal` aborts; the work itself goes on. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
