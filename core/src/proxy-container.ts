import { connect } from 'node:net';
import { formatAddress, type Address, type Transport } from './address.js';
import { LABELS, type ContainerRef, type ContainerSpec, type ContainerState } from './container-runtime.js';
import { messageOf, S2DSException } from './errors.js';
import type { PluginContext } from './plugin.js';
import type { ReservedListener } from './port-allocator.js';
import type { ProxyDescription, ProxyInstance, StreamView } from './proxy-view.js';
import type { ListenerStatistics, S2DS, S2DSCapabilities, S2DSStatus, StreamRequest } from './s2ds.js';
import { instanceName, join, split } from './shards.js';
import { resolveTargets } from './targets.js';
import { KeyedLock, poll } from './wait.js';

const READY_TIMEOUT_MS = 15_000;
const CHECK_TIMEOUT_MS = 10_000;
const STOP_GRACE_MS = 2_000;
const LOG_LINES = 10;

interface Live {
  readonly request: StreamRequest;
  instances: readonly (ProxyInstance & { readonly description: ProxyDescription })[];
  readonly watching: AbortController;
  readonly ended: PromiseWithResolver;
  error?: S2DSException;
}

interface PromiseWithResolver {
  readonly promise: Promise<S2DSException | undefined>;
  readonly resolve: (error: S2DSException | undefined) => void;
}

function deferred(): PromiseWithResolver {
  let resolve: PromiseWithResolver['resolve'] = () => undefined;
  const promise = new Promise<S2DSException | undefined>((done) => (resolve = done));
  return { promise, resolve };
}

/**
 * Base of all data servers that run a proxy in a {@link ContainerRuntime}: one instance (or a few) per stream, rendered →
 * checked by the proxy's own checker → started → ready, and undone on any failure. A proxy fills the protected hooks and
 * overrides nothing else. Everything is per uid: nothing is shared between streams but the object itself.
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
  protected abstract describe(view: StreamView): ProxyDescription;

  /** The command that checks a configuration file of the given name without side effects, if the proxy has one. */
  protected check?(config: string): readonly string[];

  /**
   * Makes a running instance use `view.targets` for new connections. Its files have been replaced already. Without this
   * hook the proxy is expected to follow its files by itself.
   */
  protected retarget?(instance: ProxyInstance): Promise<void>;

  /** Reads live counters, one entry per listener of the instance. */
  protected statistics?(instance: ProxyInstance): Promise<readonly ListenerStatistics[]>;

  /** How many instances share the listeners of a stream. */
  protected instances(_request: StreamRequest): number {
    return 1;
  }

  /**
   * Returns true once the instance accepts connections; called again and again until then. The default connects to
   * every listener, which proves nothing where sockets are inherited: the kernel accepts on those all the time. A proxy
   * that can be asked otherwise should override it.
   */
  protected async ready({ view }: ProxyInstance): Promise<boolean> {
    if (view.transport === 'udp') return true;
    await Promise.all(view.listeners.map(({ address }) => touch(address)));
    return true;
  }

  start(request: StreamRequest, signal?: AbortSignal): Promise<void> {
    return this.#lock.run(request.uid, async () => {
      if (this.#streams.has(request.uid)) {
        throw new S2DSException('SCI_STREAM_EXISTS', `Stream ${request.uid} is running on ${this.id} already.`);
      }
      if (!this.supports[request.transport]) throw this.#unsupported(request.transport);
      const live: Live = { request, instances: [], watching: new AbortController(), ended: deferred() };
      const shards = split(request.listeners, Math.max(1, this.instances(request)));
      const settled = await Promise.allSettled(
        shards.map((shard, i) => this.#startInstance(request, shard, i, signal)),
      );
      live.instances = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      const failure = settled.find((result) => result.status === 'rejected');
      if (failure) {
        await Promise.all(live.instances.map(({ ref }) => this.#discard(ref)));
        throw failure.reason;
      }
      await Promise.all(request.listeners.map((listener) => listener.letGo()));
      this.#streams.set(request.uid, live);
      for (const { ref } of live.instances) this.#watch(live, ref);
    });
  }

  updateTargets(uid: string, targets: readonly Address[], signal?: AbortSignal): Promise<void> {
    return this.#lock.run(uid, async () => {
      const live = this.#live(uid);
      if (live.error) throw live.error;
      const resolved = await resolveTargets(live.request, targets);
      signal?.throwIfAborted();
      const before = live.instances;
      const after = before.map((instance) => this.#retargeted(instance, live.request, resolved));
      await Promise.all(after.map((instance) => this.#checkNext(instance)));
      try {
        await Promise.all(after.map((instance) => this.#apply(instance)));
      } catch (error) {
        await Promise.allSettled(before.map((instance) => this.#apply(instance)));
        throw live.error ?? error;
      }
      live.instances = after;
    });
  }

  release(uid: string): Promise<void> {
    return this.#lock.run(uid, async () => {
      const live = this.#streams.get(uid);
      if (!live) return;
      live.watching.abort();
      await Promise.all(live.instances.map(({ ref }) => this.#remove(ref)));
      this.#streams.delete(uid);
      live.ended.resolve(undefined);
    });
  }

  async status(uid: string): Promise<S2DSStatus> {
    const live = this.#live(uid);
    if (live.error) return { state: 'failed', listeners: [], error: live.error };
    const read = this.statistics?.bind(this);
    if (!read) return { state: 'running', listeners: [] };
    const shards = await Promise.all(live.instances.map((instance) => read(instance)));
    return { state: 'running', listeners: join(shards) };
  }

  async ended(uid: string): Promise<S2DSException | undefined> {
    return await this.#live(uid).ended.promise;
  }

  async #startInstance(
    request: StreamRequest,
    listeners: readonly ReservedListener[],
    index: number,
    signal: AbortSignal | undefined,
  ): Promise<Live['instances'][number]> {
    const { runtime } = this.context;
    const inherits = runtime.supports.inheritSockets && listeners.every(({ fd }) => fd !== undefined);
    const view: StreamView = {
      uid: request.uid,
      role: request.role,
      transport: request.transport,
      listeners: listeners.map(({ address }, i) => (inherits ? { address, fd: 3 + i } : { address })),
      targets: [],
      bitsPerSecond: request.bitsPerSecond,
    };
    const description = this.describe(view);
    const spec = this.#spec(request, description, index, inherits ? listeners.flatMap(({ fd }) => fd ?? []) : []);
    const ref = await runtime.create(spec);
    try {
      await this.#check(ref, description.config);
      signal?.throwIfAborted();
      if (!inherits) await Promise.all(listeners.map((listener) => listener.letGo()));
      await runtime.start(ref, spec);
      await this.#waitReady({ ref, view }, signal);
    } catch (error) {
      await this.#discard(ref);
      throw error;
    }
    return { ref, view, description };
  }

  #spec(
    request: StreamRequest,
    description: ProxyDescription,
    index: number,
    sockets: readonly number[],
  ): ContainerSpec {
    const { image, executable, args, files } = description;
    const labels = {
      [LABELS.managed]: 'true',
      [LABELS.gateway]: this.context.gateway,
      [LABELS.uid]: request.uid,
      [LABELS.role]: request.role,
      [LABELS.proxy]: this.id,
    };
    return {
      name: instanceName(request.uid, index),
      image,
      executable,
      args,
      files,
      labels,
      sockets,
      stopSignal: 'SIGTERM',
    };
  }

  async #check(ref: ContainerRef, config: string): Promise<void> {
    const command = this.check?.(config);
    if (!command) return;
    const { exitCode, stdout, stderr } = await this.context.runtime.exec(ref, command, CHECK_TIMEOUT_MS);
    if (exitCode === 0) return;
    throw new S2DSException('SCI_PROXY_CONFIG_INVALID', `${this.id} refuses ${config}: ${(stderr || stdout).trim()}`, {
      suggestions: [`Check the options under proxies.${this.id} in the configuration of the gateway.`],
    });
  }

  async #waitReady(instance: ProxyInstance, signal: AbortSignal | undefined): Promise<void> {
    const { runtime } = this.context;
    const done = new AbortController();
    const notReady = (why: string, cause?: unknown): S2DSException =>
      new S2DSException('SCI_PROXY_NOT_READY', `${this.id} ${why}`, { cause });
    const ended = runtime.exited(instance.ref, done.signal).then((state) => {
      throw notReady(`ended while it was starting (${state.exit ?? 'unknown reason'})`);
    });
    const ready = poll(
      async () => (await this.ready(instance)) || undefined,
      {
        timeoutMs: READY_TIMEOUT_MS,
        intervalMs: 2,
        signal: signal ? AbortSignal.any([signal, done.signal]) : done.signal,
      },
      (lastError) => notReady(`did not become ready in ${READY_TIMEOUT_MS} ms`, lastError),
    );
    try {
      await Promise.race([ready, ended]);
    } catch (error) {
      signal?.throwIfAborted();
      throw notReady(
        messageOf(error).replace(`${this.id} `, '') + lastLines(await runtime.logs(instance.ref, LOG_LINES)),
        error,
      );
    } finally {
      done.abort();
      await Promise.allSettled([ready, ended]);
    }
  }

  #retargeted(
    instance: Live['instances'][number],
    request: StreamRequest,
    resolved: readonly Address[],
  ): Live['instances'][number] {
    const all = request.listeners.map(({ address }) => formatAddress(address));
    const mine = instance.view.listeners.map(({ address }) => all.indexOf(formatAddress(address)));
    const targets = mine.flatMap((i) => resolved[i] ?? []);
    const view = { ...instance.view, targets };
    return { ref: instance.ref, view, description: this.describe(view) };
  }

  /** Lets the proxy check the very content that is about to replace its configuration. */
  async #checkNext({ ref, description }: Live['instances'][number]): Promise<void> {
    if (!this.check) return;
    const next = `${description.config}.next`;
    await this.context.runtime.putFiles(ref, { [next]: description.files[description.config] ?? '' });
    await this.#check(ref, next);
  }

  async #apply(instance: Live['instances'][number]): Promise<void> {
    await this.context.runtime.putFiles(instance.ref, instance.description.files);
    await this.retarget?.(instance);
  }

  async #remove(ref: ContainerRef): Promise<void> {
    await this.context.runtime.stop(ref, STOP_GRACE_MS);
    await this.context.runtime.remove(ref);
  }

  /** After a failure, which is what the caller must hear of. What stays is found and removed at the next start. */
  async #discard(ref: ContainerRef): Promise<void> {
    await this.#remove(ref).catch((error: unknown) => {
      this.context.log.error({ instance: ref.name, error: messageOf(error) }, 'instance could not be removed');
    });
  }

  #watch(live: Live, ref: ContainerRef): void {
    const { runtime, log } = this.context;
    const onExit = async (state: ContainerState): Promise<void> => {
      if (live.watching.signal.aborted || live.error) return;
      const lines = lastLines(await runtime.logs(ref, LOG_LINES).catch(messageOf));
      live.error = new S2DSException(
        'SCI_PROXY_DIED',
        `${this.id} ended by itself (${state.exit ?? 'unknown reason'})${lines}`,
        {
          suggestions: [`Release the stream and make it again: scistream stream down ${live.request.uid}`],
        },
      );
      log.error({ uid: live.request.uid, proxy: this.id, exit: state.exit }, 'proxy ended by itself');
      live.ended.resolve(live.error);
    };
    runtime.exited(ref, live.watching.signal).then(onExit, (error: unknown) => {
      if (!live.watching.signal.aborted)
        log.error({ uid: live.request.uid, error: messageOf(error) }, 'cannot watch proxy');
    });
  }

  #live(uid: string): Live {
    const live = this.#streams.get(uid);
    if (live) return live;
    throw new S2DSException('SCI_STREAM_NOT_FOUND', `No stream ${uid} runs on ${this.id}.`);
  }

  #unsupported(transport: Transport): S2DSException {
    return new S2DSException('SCI_PROXY_UNSUPPORTED', `Proxy ${this.id} cannot carry ${transport.toUpperCase()}.`, {
      suggestions: ['Use --proxy relay, which carries TCP and UDP.'],
    });
  }
}

const lastLines = (log: string): string => (log.trim() ? `. Its last words:\n${log.trim()}` : '.');

/** Opens a connection and closes it. Rejects when nobody accepts. */
function touch({ host, port }: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: 1000 });
    socket.once('connect', () => resolve(void socket.destroy()));
    socket.once('timeout', () => socket.destroy(new Error('timed out')));
    socket.once('error', reject);
  });
}
