import { formatAddress, type Address } from '../contracts/address.js';
import { LABELS, type ContainerRef, type ContainerState } from '../contracts/container-runtime.js';
import { messageOf, S2DSException } from '../contracts/errors.js';
import type { PluginContext } from '../contracts/plugin.js';
import type { ReservedListener } from '../contracts/port-allocator.js';
import type { S2DS, S2DSCapabilities, S2DSRequest } from '../contracts/s2ds.js';
import type { ListenerStatistics, S2DSStatus } from '../contracts/stream.js';
import { KeyedLock } from '../contracts/wait.js';
import { partsOf, serves, type Part } from './adoption.js';
import { mustSupport } from './capabilities.js';
import { inherits, specOf, touch, viewOf, waitReady, type Instance } from './instance.js';
import { instanceName, join, split } from './shards.js';
import { Supervision } from './supervision.js';
import { resolveTargets } from './targets.js';
import type { ProxyDescription, ProxyInstance, ProxyView } from './view.js';

const CHECK_TIMEOUT_MS = 10_000;
/** Exit status of a shell that finds no such program (POSIX, Shell Command Language §2.8.2). */
const COMMAND_NOT_FOUND = 127;
const STOP_GRACE_MS = 2_000;
interface Live {
  readonly request: S2DSRequest;
  instances: readonly Instance[];
  readonly supervision: Supervision;
}

/**
 * Base of all data servers that run a proxy in a {@link ContainerRuntime}: one instance (or a few) per stream, rendered →
 * checked by the proxy's own checker → started → ready, and undone on any failure; started again when it ends by itself.
 * A proxy fills the protected hooks and overrides nothing else. Everything is per uid: nothing is shared between streams
 * but the object itself.
 */
export abstract class ProxyContainer implements S2DS {
  abstract readonly supports: S2DSCapabilities;
  readonly #streams = new Map<string, Live>();
  readonly #lock = new KeyedLock();

  /** @param id The name people type, as in the manifest. */
  constructor(
    protected readonly context: PluginContext,
    readonly id: string,
  ) {}

  /** Image, program, arguments and files of an instance, rendered from the view. Called for every start and update. */
  protected abstract describe(view: ProxyView): ProxyDescription;

  /** The command that checks a configuration file of the given name without side effects, if the proxy has one. */
  protected check?(config: string): readonly string[];

  /**
   * Makes a running instance use `view.targets` for new connections at once, without its files.
   * @returns false where the instance cannot be told, so that its files have to be replaced and read again.
   */
  protected retarget?(instance: ProxyInstance): Promise<boolean>;

  /**
   * Makes a running instance follow its files, which have been replaced; new connections go to the new targets when it
   * returns. Without this hook the proxy is expected to notice by itself.
   */
  protected reload?(instance: ProxyInstance): Promise<void>;

  /** Reads live counters, one entry per listener of the instance. */
  protected statistics?(instance: ProxyInstance): Promise<readonly ListenerStatistics[]>;

  /** How many instances share the listeners of a stream. */
  protected instances(_request: S2DSRequest): number {
    return 1;
  }

  /**
   * Returns true once the instance accepts connections; called again and again until then. The default connects to
   * every listener, which proves nothing where sockets are inherited: the kernel accepts on those all the time. A proxy
   * that can be asked otherwise should override it.
   * @param listeners Where the world reaches the instance.
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
      this.#takeCharge(request, instances);
    });
  }

  adopt(request: S2DSRequest, targets: readonly Address[]): Promise<boolean> {
    return this.#lock.run(request.uid, async () => {
      if (this.#streams.has(request.uid)) return true;
      mustSupport(this.id, this.supports, request);
      const { runtime, owner } = this.context;
      const resolved = targets.length > 0 ? await resolveTargets(request, targets) : [];
      const likely = Math.max(1, this.instances(request));
      let found = await this.#inOrder(request.uid);
      let parts = partsOf(this.context, this.id, request, found, likely);
      if (!parts.every(serves)) {
        // Which there are beyond one that is missing, a list alone tells; it takes long where there are many streams.
        found = await runtime.list({ [LABELS.owner]: owner, [LABELS.uid]: request.uid });
        parts = partsOf(this.context, this.id, request, found, likely);
      }
      const kept = parts.some(serves) ? parts : [];
      const strays = found.filter(({ name }) => !kept.some(({ ref }) => ref.name === name));
      await Promise.all(strays.map(({ name }) => this.#remove({ name })));
      if (kept.length > 0) this.#takeOver(request, kept, resolved);
      return kept.length > 0;
    });
  }

  updateTargets(uid: string, targets: readonly Address[], signal?: AbortSignal): Promise<void> {
    return this.#lock.run(uid, async () => {
      const live = this.#live(uid);
      if (live.supervision.error) throw live.supervision.error;
      const resolved = await resolveTargets(live.request, targets);
      signal?.throwIfAborted();
      const before = live.instances;
      const after = before.map((instance) => {
        const view = { ...instance.view, targets: ofShard(live.request, instance.listeners, resolved) };
        return { ...instance, view, description: this.describe(view) };
      });
      try {
        await Promise.all(after.map((instance) => this.#apply(live, instance)));
      } catch (error) {
        for (const outcome of await Promise.allSettled(before.map((instance) => this.#apply(live, instance)))) {
          if (outcome.status === 'rejected')
            this.context.log.error({ uid, error: messageOf(outcome.reason) }, 'previous targets not restored');
        }
        throw live.supervision.error ?? error;
      }
      live.instances = after;
    });
  }

  async release(uid: string): Promise<void> {
    // Before the lock: what starts the programs again holds it, and must end.
    this.#streams.get(uid)?.supervision.stop();
    await this.#lock.run(uid, async () => {
      const live = this.#streams.get(uid);
      if (!live) return;
      // Once more: the stream may have been started or adopted while this waited.
      live.supervision.stop();
      await Promise.all(live.instances.map(({ ref }) => this.#remove(ref)));
      this.#streams.delete(uid);
      live.supervision.released();
    });
  }

  async status(uid: string): Promise<S2DSStatus> {
    const { supervision, instances } = this.#live(uid);
    const { error, restarting, restarts } = supervision;
    if (error) return { state: 'failed', restarts, listeners: [], error };
    if (restarting) return { state: 'restarting', restarts, listeners: [] };
    const read = this.statistics?.bind(this);
    if (!read) return { state: 'running', restarts, listeners: [] };
    const shards = await Promise.all(instances.map((instance) => read(instance)));
    return { state: 'running', restarts, listeners: join(shards) };
  }

  async ended(uid: string): Promise<S2DSException | undefined> {
    return await this.#live(uid).supervision.ended;
  }

  /** What still serves is left alone; what does not is started again. */
  #takeOver(request: S2DSRequest, parts: readonly Part[], targets: readonly Address[]): void {
    const instances = parts.map(({ ref, index, listeners }): Instance => {
      const view = viewOf(this.context.runtime, request, listeners, ofShard(request, listeners, targets));
      return { ref, index, listeners, view, description: this.describe(view) };
    });
    this.#takeCharge(request, instances, new Map(parts.filter((part) => !serves(part)).map((p) => [p.index, p.state])));
  }

  /** @param ended Instances that do not serve any more. */
  #takeCharge(
    request: S2DSRequest,
    instances: readonly Instance[],
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
    const live: Live = { request, instances, supervision };
    this.#streams.set(uid, live);
    for (const { ref, index } of instances) {
      const state = ended.get(index);
      if (state) supervision.lost(index, state);
      else supervision.watch(ref, index);
    }
  }

  /** Instances of a stream, as far as none is missing. */
  async #inOrder(uid: string): Promise<readonly ContainerState[]> {
    const states: ContainerState[] = [];
    for (;;) {
      const state = await this.context.runtime.inspect({ name: instanceName(this.context.owner, uid, states.length) });
      if (state.status === 'absent') return states;
      states.push(state);
    }
  }

  /** @param targets Of this instance. */
  async #startInstance(
    request: S2DSRequest,
    listeners: readonly ReservedListener[],
    index: number,
    targets: readonly Address[],
    signal: AbortSignal | undefined,
  ): Promise<Instance> {
    const { runtime } = this.context;
    const view = viewOf(runtime, request, listeners, targets);
    const description = this.describe(view);
    const inherit = inherits(runtime, request);
    if (inherit) await Promise.all(listeners.map((listener) => listener.hold()));
    const sockets = inherit ? listeners.flatMap(({ fd }) => fd ?? []) : [];
    const spec = specOf(this.context, this.id, request, { index, listeners, description }, sockets);
    const ref = await runtime.create(spec);
    try {
      await this.#check(ref, description.config);
      signal?.throwIfAborted();
      if (!inherit) await Promise.all(listeners.map((listener) => listener.letGo()));
      await runtime.start(ref, spec);
      const addresses = listeners.map(({ address }) => address);
      await waitReady(this.context, this.id, ref, () => this.ready({ ref, view }, addresses), signal);
      await Promise.all(listeners.map((listener) => listener.letGo()));
    } catch (error) {
      await this.#discard(ref);
      throw error;
    }
    return { ref, index, listeners, view, description };
  }

  async #check(ref: ContainerRef, config: string): Promise<void> {
    const command = this.check?.(config);
    if (!command) return;
    const { exitCode, stdout, stderr } = await this.context.runtime.exec(ref, command, CHECK_TIMEOUT_MS);
    if (exitCode === 0) return;
    if (exitCode === COMMAND_NOT_FOUND) {
      throw new S2DSException('SCI_EXECUTABLE_NOT_FOUND', `The program of ${this.id} is missing: ${stderr.trim()}`, {
        suggestions: [`Install it, or correct proxies.${this.id}.executable in the configuration of the gateway.`],
      });
    }
    throw new S2DSException('SCI_PROXY_CONFIG_INVALID', `${this.id} rejects ${config}: ${(stderr || stdout).trim()}`, {
      suggestions: [`Check the options under proxies.${this.id} in the configuration of the gateway.`],
    });
  }

  /**
   * Puts the targets of an instance in force. Files that a running program reads again are checked before they replace the
   * old ones; where it is told directly they are read at the next start only, and checked then. One that does not run is
   * started with them.
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

  /** After a failure, which is what the caller must hear of. What stays is found and removed at the next start. */
  async #discard(ref: ContainerRef): Promise<void> {
    await this.#remove(ref).catch((error: unknown) => {
      this.context.log.error({ instance: ref.name, error: messageOf(error) }, 'instance not removed');
    });
  }

  /** What cannot be ended now is ended by the release. */
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

/** What belongs to the listeners of one instance. @param all One target per listener of the stream, or none. */
function ofShard(
  { listeners }: S2DSRequest,
  shard: readonly ReservedListener[],
  all: readonly Address[],
): readonly Address[] {
  const addresses = listeners.map(({ address }) => formatAddress(address));
  return shard.flatMap(({ address }) => all[addresses.indexOf(formatAddress(address))] ?? []);
}
