import { isDeepStrictEqual } from 'node:util';
import type { Address, Target } from '../contracts/address.js';
import type { ContainerRef, ContainerState } from '../contracts/container-runtime.js';
import { messageOf, S2DSException } from '../contracts/errors.js';
import type { PluginContext } from '../contracts/plugin.js';
import type { ReservedListener } from '../contracts/port-allocator.js';
import type { S2DS, S2DSCapabilities, S2DSRequest } from '../contracts/s2ds.js';
import type { ConnectionLimit, ListenerStatistics, S2DSStatus, TlsFailure } from '../contracts/stream.js';
import { KeyedLock } from '../contracts/wait.js';
import { findParts, serves, type Part } from './adoption.js';
import { mustSupport } from './capabilities.js';
import { inherits, join, specOf, split, targetsOf, viewOf, type Instance } from './instance.js';
import { checkConfig, startError, touch, waitReady } from './start.js';
import { Supervision } from './supervision.js';
import { resolveTargets } from './targets.js';
import type { ProxyDescription, ProxyInstance, ProxyView } from './view.js';

const STOP_GRACE_MS = 2_000;

/** A stream with its instances. */
interface Live {
  readonly request: S2DSRequest;
  instances: readonly Instance[];
  readonly supervision: Supervision;
  /** Whether the instances certainly use their descriptions. */
  settled: boolean;
}

/**
 * Base class of all data servers that run a proxy in a `ContainerRuntime`. It renders the files of each instance,
 * starts the program and waits until it is ready. If a step fails, it removes the instance. The proxy's own checker reads
 * the new files of a running instance and the files of a failed start. It restarts instances that end unexpectedly. A
 * proxy implements the protected hooks and overrides no other method. Streams share no state except this object.
 */
export abstract class ProxyContainer implements S2DS {
  abstract readonly supports: S2DSCapabilities;
  readonly #streams = new Map<string, Live>();
  readonly #lock = new KeyedLock();

  /** @param id Name of the proxy, as in the manifest. */
  constructor(
    protected readonly context: PluginContext,
    readonly id: string,
  ) {}

  /** Renders image, program, arguments and files of an instance. Called for each start and each change of targets. */
  protected abstract describe(view: ProxyView): ProxyDescription;

  /**
   * Returns a command that checks the named configuration file without side effects. Exit code 0 accepts it. Called for
   * the new file of a running instance before it replaces the previous one, and for the file of a failed start.
   */
  protected check?(config: string): readonly string[];

  /**
   * Checks that a running instance can get new targets now. Called before an update changes anything.
   * @throws Why not, such as too many old workers
   */
  protected admit?(instance: ProxyInstance): Promise<void>;

  /**
   * Sets `view.targets` for new connections of a running instance through its control interface, without its files.
   * @returns false if the instance has no such interface; its files are then replaced and reloaded
   */
  protected retarget?(instance: ProxyInstance): Promise<boolean>;

  /**
   * Makes a running instance load its replaced files. When it returns, new connections go to the new targets. A proxy
   * that watches its files does not need this hook.
   */
  protected reload?(instance: ProxyInstance): Promise<void>;

  /** Reads the counters of an instance, one entry per listener. */
  protected statistics?(instance: ProxyInstance): Promise<readonly ListenerStatistics[]>;

  /**
   * Reads the limit of connections of an instance. Undefined: not known.
   * @param counters The counters of the instance, read immediately before.
   */
  protected limit?(
    instance: ProxyInstance,
    counters: readonly ListenerStatistics[],
  ): Promise<ConnectionLimit | undefined>;

  /** Reads the latest failed TLS handshake of an instance. Called after {@link statistics}. Undefined: none, or not known. */
  protected tlsFailure?(instance: ProxyInstance): Promise<TlsFailure | undefined>;

  /** Returns the number of instances that share the listeners of a stream. Default: 1. */
  protected instances(_request: S2DSRequest): number {
    return 1;
  }

  /**
   * Returns true if the instance accepts connections. Called until then, for at most 15 s; an error counts as false.
   * The default connects to every listener. On inherited sockets the kernel accepts connections before the program
   * does, so a proxy with a control interface should override this hook.
   * @param listeners External addresses of the instance.
   */
  protected async ready({ view }: ProxyInstance, listeners: readonly Address[]): Promise<boolean> {
    if (view.transport === 'udp') return true;
    await Promise.all(listeners.map(touch));
    return true;
  }

  start(request: S2DSRequest, signal?: AbortSignal): Promise<void> {
    return this.#lock.run(request.uid, async () => {
      if (this.#streams.has(request.uid)) {
        throw new S2DSException('SCI_STREAM_EXISTS', `Stream ${request.uid} is already running on ${this.id}.`);
      }
      mustSupport(this.id, this.supports, request);
      const shards = split(request.listeners, Math.max(1, this.instances(request)));
      const settled = await Promise.allSettled(
        shards.map((shard, i) => this.#startInstance(request, shard, i, [], signal)),
      );
      const instances = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      const failure = settled.find((result) => result.status === 'rejected');
      if (failure) {
        await Promise.all(instances.map(({ ref }) => this.#discard(ref)));
        throw failure.reason;
      }
      this.#supervise(request, instances, true);
    });
  }

  adopt(request: S2DSRequest, targets: readonly Target[]): Promise<boolean> {
    return this.#lock.run(request.uid, async () => {
      if (this.#streams.has(request.uid)) return true;
      mustSupport(this.id, this.supports, request);
      const resolved = targets.length > 0 ? await resolveTargets(request, targets) : [];
      const likely = Math.max(1, this.instances(request));
      const { parts, strays } = await findParts(this.context, this.id, request, likely);
      await Promise.all(strays.map(({ name }) => this.#remove({ name })));
      if (parts.length > 0) this.#adoptParts(request, parts, resolved);
      return parts.length > 0;
    });
  }

  updateTargets(uid: string, targets: readonly Target[], signal?: AbortSignal): Promise<void> {
    return this.#lock.run(uid, async () => {
      const live = this.#live(uid);
      if (live.supervision.error) throw live.supervision.error;
      const resolved = await resolveTargets(live.request, targets);
      signal?.throwIfAborted();
      const before = live.instances;
      const after = before.map((instance) => {
        const view = { ...instance.view, targets: targetsOf(live.request, instance.listeners, resolved) };
        return { ...instance, view, description: this.describe(view) };
      });
      // Not the files: a template may ignore its targets, and the update must not succeed then.
      const isChanged = ({ view }: Instance, i: number): boolean =>
        !live.settled || !isDeepStrictEqual(view.targets, before[i]?.view.targets);
      const changed = after.filter(isChanged);
      await Promise.all(changed.map(async (instance) => await this.admit?.(instance)));
      live.settled = false;
      try {
        await Promise.all(changed.map((instance) => this.#apply(live, instance)));
        live.settled = true;
      } catch (error) {
        const restored = await Promise.allSettled(before.map((instance) => this.#apply(live, instance)));
        live.settled = restored.every(({ status }) => status === 'fulfilled');
        for (const outcome of restored) {
          if (outcome.status === 'rejected')
            this.context.log.error({ uid, error: messageOf(outcome.reason) }, 'previous targets not restored');
        }
        throw live.supervision.error ?? error;
      }
      live.instances = after;
    });
  }

  async release(uid: string): Promise<void> {
    // Before the lock: a restart in progress holds it and must end first.
    this.#streams.get(uid)?.supervision.stop();
    await this.#lock.run(uid, async () => {
      const live = this.#streams.get(uid);
      if (!live) return;
      // Again: the stream may have been started or adopted while this call waited.
      live.supervision.stop();
      await Promise.all(live.instances.map(({ ref }) => this.#remove(ref)));
      this.#streams.delete(uid);
      live.supervision.released();
    });
  }

  async status(uid: string): Promise<S2DSStatus> {
    const { supervision, instances } = this.#live(uid);
    const { error, obstacle, restarting, restarts } = supervision;
    if (error) return { state: 'failed', restarts, listeners: [], error };
    if (restarting) return { state: 'restarting', restarts, listeners: [], ...(obstacle && { error: obstacle }) };
    const parts = await Promise.all(
      instances.map(async (instance) => {
        const counters = (await this.statistics?.(instance)) ?? [];
        const limit = await this.limit?.(instance, counters);
        return { counters, limit, tlsFailure: await this.tlsFailure?.(instance) };
      }),
    );
    const limit = limitOf(parts.flatMap((part) => part.limit ?? []));
    const listeners = join(parts.map(({ counters }) => counters));
    const [tlsFailure] = parts.flatMap((part) => part.tlsFailure ?? []).toSorted((a, b) => b.at.localeCompare(a.at));
    return {
      state: 'running',
      restarts,
      listeners,
      ...(limit ? { limit } : {}),
      ...(tlsFailure ? { tlsFailure } : {}),
    };
  }

  async ended(uid: string): Promise<S2DSException | undefined> {
    return await this.#live(uid).supervision.ended;
  }

  /** Keeps the instances that serve and restarts the others. */
  #adoptParts(request: S2DSRequest, parts: readonly Part[], targets: readonly Target[]): void {
    const instances = parts.map(({ ref, index, listeners }): Instance => {
      const view = viewOf(this.context.runtime, request, listeners, targetsOf(request, listeners, targets));
      return { ref, index, listeners, view, description: this.describe(view) };
    });
    // The program may have other targets: an earlier process may have died while it set them.
    this.#supervise(
      request,
      instances,
      false,
      new Map(parts.filter((part) => !serves(part)).map((p) => [p.index, p.state])),
    );
  }

  /**
   * Registers a stream and watches its instances.
   * @param settled As {@link Live.settled}.
   * @param ended States of the instances to restart, by index.
   */
  #supervise(
    request: S2DSRequest,
    instances: readonly Instance[],
    settled: boolean,
    ended: ReadonlyMap<number, ContainerState> = new Map(),
  ): void {
    const { uid } = request;
    const supervision = new Supervision(this.context, {
      uid,
      proxy: this.id,
      alone: (work) => this.#lock.run(uid, work),
      replace: (index, signal) => this.#replace(live, index, signal),
      end: () => this.#end(live),
    });
    const live: Live = { request, instances, supervision, settled };
    this.#streams.set(uid, live);
    for (const { ref, index } of instances) {
      const state = ended.get(index);
      if (state) supervision.lost(index, state);
      else supervision.watch(ref, index);
    }
  }

  /** @param targets Targets of this instance. */
  async #startInstance(
    request: S2DSRequest,
    listeners: readonly ReservedListener[],
    index: number,
    targets: readonly Target[],
    signal: AbortSignal | undefined,
  ): Promise<Instance> {
    const { runtime } = this.context;
    const view = viewOf(runtime, request, listeners, targets);
    const description = this.describe(view);
    const inherit = inherits(runtime, request);
    // Also without inheritance: only the bind shows that another program has taken a port since the last start.
    await Promise.all(listeners.map((listener) => listener.bind()));
    const sockets = inherit ? listeners.flatMap(({ fd }) => fd ?? []) : [];
    const spec = specOf(this.context, this.id, request, { index, listeners, description }, sockets);
    const ref = await runtime.create(spec);
    try {
      signal?.throwIfAborted();
      if (!inherit) await Promise.all(listeners.map((listener) => listener.close()));
      await runtime.start(ref, spec);
      const addresses = listeners.map(({ address }) => address);
      await waitReady(this.context, this.id, ref, () => this.ready({ ref, view }, addresses), signal);
      await Promise.all(listeners.map((listener) => listener.close()));
    } catch (error) {
      const isAborted = signal?.aborted ?? false;
      const reason = isAborted ? error : await startError(error, () => this.#check(ref, description.config));
      await this.#discard(ref);
      throw reason;
    }
    return { ref, index, listeners, view, description };
  }

  async #check(ref: ContainerRef, config: string): Promise<void> {
    const command = this.check?.(config);
    if (command) await checkConfig(this.context, this.id, ref, command, config);
  }

  /**
   * Applies the targets of an instance. Files that a running program reloads are checked before they replace the
   * previous ones. After `retarget`, the program reads its files only at the next start, which checks them. An instance
   * that is restarting starts with the new targets.
   */
  async #apply({ supervision }: Live, instance: Instance): Promise<void> {
    const { ref, index, description } = instance;
    const { runtime } = this.context;
    if (supervision.isDown(index)) return;
    if (await this.retarget?.(instance)) return await runtime.putFiles(ref, description.files);
    if (this.check) {
      const next = `${description.config}.next`;
      await runtime.putFiles(ref, { [next]: description.files[description.config] ?? '' });
      await this.#check(ref, next);
    }
    await runtime.putFiles(ref, description.files);
    await this.reload?.(instance);
  }

  async #remove(ref: ContainerRef): Promise<void> {
    await this.context.runtime.stop(ref, STOP_GRACE_MS);
    await this.context.runtime.remove(ref);
  }

  /** Removes an instance after a failure, which the caller reports. The next start of the daemon removes leftovers. */
  async #discard(ref: ContainerRef): Promise<void> {
    await this.#remove(ref).catch((error: unknown) => {
      this.context.log.error({ instance: ref.name, error: messageOf(error) }, 'instance not removed');
    });
  }

  /** Stops the instances of a failed stream. The release stops those that do not stop now. */
  async #end({ instances }: Live): Promise<void> {
    const ends = instances.map(({ ref }) => this.context.runtime.stop(ref, STOP_GRACE_MS));
    for (const outcome of await Promise.allSettled(ends)) {
      if (outcome.status === 'rejected')
        this.context.log.error({ error: messageOf(outcome.reason) }, 'instance not stopped');
    }
  }

  async #replace(live: Live, index: number, signal: AbortSignal): Promise<ContainerRef> {
    const old = live.instances[index];
    if (!old) throw new S2DSException('SCI_BUG', `Stream ${live.request.uid} has no instance ${index}.`);
    await this.#remove(old.ref);
    const instance = await this.#startInstance(live.request, old.listeners, index, old.view.targets, signal);
    live.instances = live.instances.with(index, instance);
    return instance.ref;
  }

  #live(uid: string): Live {
    const live = this.#streams.get(uid);
    if (live) return live;
    throw new S2DSException('SCI_STREAM_NOT_FOUND', `Stream ${uid} is not running on ${this.id}.`);
  }
}

/** Joins the limits of all instances of a stream. */
function limitOf(limits: readonly ConnectionLimit[]): ConnectionLimit | undefined {
  if (limits.length === 0) return undefined;
  const connections = Math.min(...limits.map((limit) => limit.connections));
  return { connections, reached: limits.some(({ reached }) => reached) };
}
