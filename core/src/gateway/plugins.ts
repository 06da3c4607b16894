import { join } from 'node:path';
import pLimit from 'p-limit';
import {
  LABELS,
  type ContainerRef,
  type ContainerRuntime,
  type ContainerState,
} from '../contracts/container-runtime.js';
import { messageOf, SciStreamError, type ErrorCode } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import type { S2DS } from '../contracts/s2ds.js';
import { PluginHost } from '../plugins/host.js';
import { HOST_RUNTIME, type Providers } from '../plugins/index.js';
import { serverId } from './server-id.js';
import type { GatewayStore } from './store.js';

/** The shortest pause between two attempts to remove the leftovers in a runtime, ms. */
const SWEEP_AGAIN_MS = 5_000;
/** Leftovers that are removed at a time. */
const CONCURRENT_REMOVALS = 8;

/** The runtimes of a gateway and the data servers (S2DS) in them, each created at its first use. */
export class GatewayPlugins {
  readonly #runtimes = new Map<string, Promise<ContainerRuntime>>();
  readonly #s2ds = new Map<string, Promise<S2DS>>();
  readonly #swept = new Map<string, Promise<void>>();
  readonly #ids = new Map<string, Promise<string>>();
  /** Runtimes with leftovers that could not be removed → time of the last attempt, ms. */
  readonly #unswept = new Map<string, number>();
  #sweeping = Promise.resolve();
  readonly #host: PluginHost;

  constructor(
    private readonly gateway: string,
    private readonly providers: Providers,
    private readonly log: Logger,
    /** Directory of the gateway's state. */
    private readonly state: string,
    /** The records of the gateway. */
    private readonly records: () => Pick<GatewayStore, 'has' | 'entries'>,
    private readonly onRestart: (uid: string, reason: string) => void,
  ) {
    this.#host = new PluginHost(log, state);
  }

  /** One data server per proxy and runtime. Failures are not cached. @param proxy @param runtime Ids. @throws as {@link runtime} */
  s2ds(proxy: string, runtime: string): Promise<S2DS> {
    return memoize(this.#s2ds, `${proxy} ${runtime}`, async () => {
      const inRuntime = await this.runtime(runtime);
      const provider = await this.providers.proxy(proxy);
      const context = await this.#host.context(join('proxies', proxy));
      const { gateway, onRestart } = this;
      const s2ds = provider.create({
        ...context,
        runtime: inRuntime,
        gateway,
        serverId: await this.#serverId(),
        onRestart,
      });
      // One for all runtimes: a second sweep could remove a stream that has just been reserved in the first.
      await memoize(this.#swept, proxy, async () => await s2ds.sweep?.(this.#uidsOf(proxy)));
      return s2ds;
    });
  }

  /** Removes what proxies on this host keep for streams without a record. Logs a failure: then only that proxy is unusable. */
  async sweep(): Promise<void> {
    for (const { id } of this.providers.list('proxy').filter(({ runsIn, error }) => runsIn === 'host' && !error)) {
      await this.s2ds(id, HOST_RUNTIME).catch((error: unknown) => {
        this.log.error({ proxy: id, error: messageOf(error) }, 'leftovers of a proxy not removed');
      });
    }
  }

  #uidsOf(proxy: string): ReadonlySet<string> {
    return new Set(
      this.records()
        .entries()
        .flatMap(([uid, record]) => (record.proxy === proxy ? uid : [])),
    );
  }

  /**
   * A runtime that answers. Instances without a stream record have been removed from it; a later use retries those that
   * could not be removed. @throws SCI_RUNTIME_UNREACHABLE, SCI_PLUGIN_*
   */
  async runtime(id: string): Promise<ContainerRuntime> {
    const runtime = await memoize(this.#runtimes, id, async () => {
      const runtime = (await this.providers.runtime(id)).create(await this.#host.context(id));
      await runtime.ping();
      await this.#sweep(id, runtime, await this.#serverId());
      return runtime;
    });
    const last = this.#unswept.get(id);
    // In the background: an instance that cannot be ended may take long every time.
    if (last !== undefined && performance.now() - last > SWEEP_AGAIN_MS)
      this.#sweeping = this.#sweep(id, runtime, await this.#serverId());
    return runtime;
  }

  /** Creates the defaults of the gateway. If the runtime does not answer, logs that and goes on. @throws SCI_PLUGIN_* … */
  async prepare(proxy: string, runtime: string): Promise<void> {
    try {
      await this.s2ds(proxy, runtime);
    } catch (error) {
      // The gateway has to look after its streams in other runtimes.
      if (!hasCode(error, 'SCI_RUNTIME_UNREACHABLE')) throw error;
      const { message, suggestions } = error;
      this.log.warn({ runtime, error: message, suggestions }, 'runtime does not answer');
    }
  }

  /** Removes every instance of a stream that no data server carries. @param runtime Id. @throws SCI_RUNTIME_UNREACHABLE … */
  async clear(runtime: string, uid: string): Promise<void> {
    const where = await this.runtime(runtime);
    await removeAll(where, await where.list({ [LABELS.serverId]: await this.#serverId(), [LABELS.uid]: uid }));
  }

  /** Closes the plugins. Their instances keep running. */
  async close(): Promise<void> {
    await this.#sweeping;
    await this.#host.close();
  }

  /** Tells the instances of this gateway from those of others in the same runtime; survives a restart. */
  #serverId(): Promise<string> {
    return memoize(this.#ids, 'serverId', () => serverId(this.state));
  }

  /** Removes instances without a stream record. A failure must not block other streams. Never rejects. */
  async #sweep(id: string, runtime: ContainerRuntime, server: string): Promise<void> {
    this.#unswept.set(id, performance.now());
    try {
      const all = await runtime.list({ [LABELS.managed]: 'true', [LABELS.serverId]: server });
      const few = pLimit(CONCURRENT_REMOVALS);
      const removed = await Promise.all(all.map((each) => few(() => this.#removeStray(runtime, each))));
      if (removed.every(Boolean)) this.#unswept.delete(id);
    } catch (error) {
      this.log.error({ runtime: id, error: messageOf(error) }, 'leftover instances cannot be listed');
    }
  }

  /** @returns false when the instance is a leftover and could not be removed */
  async #removeStray(runtime: ContainerRuntime, instance: ContainerState): Promise<boolean> {
    const { name, labels, status } = instance;
    const uid = labels[LABELS.uid] ?? '';
    if (this.records().has(uid)) return true;
    this.log.warn({ instance: name, uid, status }, 'removing a leftover instance');
    try {
      await removeAll(runtime, [instance]);
      return true;
    } catch (error) {
      const what = 'leftover instance not removed; retrying when the runtime is used';
      this.log.error({ instance: name, uid, error: messageOf(error) }, what);
      return false;
    }
  }
}

const hasCode = (error: unknown, code: ErrorCode): error is SciStreamError =>
  SciStreamError.is(error) && error.code === code;

async function removeAll(runtime: ContainerRuntime, instances: readonly ContainerRef[]): Promise<void> {
  for (const instance of instances) {
    await runtime.stop(instance, 0);
    await runtime.remove(instance);
  }
}

function memoize<T>(made: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const known = made.get(key);
  if (known) return known;
  const making = make();
  made.set(key, making);
  making.catch(() => made.delete(key));
  return making;
}
