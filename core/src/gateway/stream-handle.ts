import type { Target } from '../contracts/address.js';
import { messageOf } from '../contracts/errors.js';
import type { Reservation } from '../contracts/gateway.js';
import type { ReservedListener } from '../contracts/port-allocator.js';
import { proxyName, type ListenerStatistics, type S2DSStatus } from '../contracts/stream.js';
import { Queue } from '../contracts/wait.js';
import { mustSupport } from '../proxy/capabilities.js';
import { addressesOf } from './addresses.js';
import { clearStream, recoverStream, Recovery } from './recovery.js';
import { advertised, repeated, type GatewayStream } from './store.js';
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

  /** As `Gateway.reserve`. */
  reserve(request: Pick<GatewayStream, 'spec' | 'tls'>): Promise<Reservation> {
    return this.#turn(async () => {
      const { uid } = this;
      const { settings, providers, plugins, ports, store } = this.gateway;
      if (this.#stream || this.#recovery) {
        const { record, s2ds } = this.stream;
        return { ...repeated(settings.name, uid, request, record), rateEnforced: s2ds.supports.rateLimit };
      }
      const { spec } = request;
      const found = providers.resolve(proxyName(spec, settings.proxy), spec.runtime || settings.runtime);
      const s2ds = await plugins.s2ds(found.proxy, found.runtime);
      const runtime = await plugins.runtime(found.runtime);
      mustSupport(found.proxy, s2ds.supports, request);
      const placement = await runtime.place?.(uid);
      const { wan, lan } = placement ?? settings;
      const host = spec.role === 'inbound' ? wan : lan;
      const { transport, connections: count } = spec;
      // An earlier stream with this uid, also of another owner, may have failed.
      await store.putPorts(ports.free(uid));
      const reserved = await ports.allocate({ uid, host, transport, count, remote: placement !== undefined });
      const listeners = reserved.map(({ address }) => address);
      // The addresses of the settings belong to this host, not to a node that the runtime chose.
      const where = placement ? { node: placement.node } : addressesOf(settings, spec.role, s2ds.supports);
      const sources = spec.sources ?? (s2ds.supports.sources ? spec.peerSources : undefined);
      const own = { ...found, ...(sources && { sources }) };
      const record: GatewayStream = { ...request, ...own, listeners, ...where, state: 'reserved', targets: [] };
      await store.put(uid, record).catch(async (error: unknown) => {
        await ports.release(uid);
        throw error;
      });
      this.#stream = new Stream(this.gateway, { uid, s2ds, listeners: reserved }, record);
      return { gateway: settings.name, ...own, listeners: advertised(record), rateEnforced: s2ds.supports.rateLimit };
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

  /** As `Gateway.release`. Also releases a stream that is not recovered. */
  release(keepPortsUntil?: string): Promise<readonly ListenerStatistics[]> {
    this.#stream?.abort();
    this.#recovery?.stop();
    return this.#turn(async () => {
      // A release that failed while this one waited has left another recovery.
      this.#recovery?.stop();
      this.#recovery = undefined;
      if (this.#stream) return await this.#end(this.#stream, keepPortsUntil);
      await this.#endUnrecovered(keepPortsUntil);
      return [];
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
    return this.#turn(() => this.#attempt(() => this.#recover(listeners)));
  }

  /** Resolves when the stream is recovered or released. Never settles when the gateway closes first: the stream continues. */
  async recovered(): Promise<void> {
    await this.#recovery?.settled();
  }

  async #recover(listeners: readonly ReservedListener[]): Promise<void> {
    const record = this.gateway.store.get(this.uid);
    if (record?.state === 'releasing') return await clearStream(this.gateway, this.uid, record);
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

  async #end(stream: Stream, keepPortsUntil: string | undefined): Promise<readonly ListenerStatistics[]> {
    const { uid } = this;
    const { log, plugins, ports, store } = this.gateway;
    stream.abort();
    const last = await stream.s2ds.status(uid).catch((error: unknown) => {
      log.debug({ uid, error: messageOf(error) }, 'last counters unknown');
      return undefined;
    });
    const { state, runtime } = stream.record;
    await stream.releasing(keepPortsUntil);
    await Promise.all([stream.s2ds.release(uid), stream.probes.close()]);
    // A start that failed, or an earlier release, may have left an instance that the data server does not know.
    if (state === 'starting' || state === 'releasing') await plugins.clear(runtime, uid);
    await store.removeCredentials(uid);
    await store.delete(uid, await ports.retire(uid, keepPortsUntil));
    this.#stream = undefined;
    stream.gone();
    return last?.listeners ?? [];
  }

  async #endUnrecovered(keepPortsUntil: string | undefined): Promise<void> {
    const { store } = this.gateway;
    const known = store.get(this.uid);
    if (!known) return;
    const record = { ...known, state: 'releasing' as const, ...(keepPortsUntil && { keepPortsUntil }) };
    // From here on every attempt, also of a later process, ends the stream.
    await store.put(this.uid, record, ENDING);
    await this.#attempt(() => clearStream(this.gateway, this.uid, record));
    if (this.#recovery) throw this.#recovery.error;
  }

  /** Calls `work`; if that fails, retries in the background until it succeeds. Call it in a turn. Never rejects. */
  async #attempt(work: () => Promise<void>): Promise<void> {
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
      this.#recovery = new Recovery(reason, retry, { uid, closing, log });
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
