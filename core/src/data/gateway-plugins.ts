import { join } from 'node:path';
import { LABELS, type ContainerRef, type ContainerRuntime } from '../container-runtime.js';
import type { Logger } from '../logger.js';
import { PluginHost } from '../plugins/host.js';
import type { Providers } from '../plugins/index.js';
import type { S2DS } from '../s2ds.js';
import { ownerId } from './owner-id.js';

/** The runtimes of a gateway and the data servers (S2DS) in them, each made when it is first needed. */
export class GatewayPlugins {
  readonly #runtimes = new Map<string, Promise<ContainerRuntime>>();
  readonly #dataServers = new Map<string, Promise<S2DS>>();
  readonly #ids = new Map<string, Promise<string>>();
  readonly #host: PluginHost;

  constructor(
    private readonly gateway: string,
    private readonly providers: Providers,
    private readonly log: Logger,
    /** Directory of the gateway's state. */
    private readonly state: string,
    /** Whether the gateway remembers a stream of this uid. */
    private readonly isKnown: (uid: string) => boolean,
    private readonly onRestart: (uid: string, reason: string) => void,
  ) {
    this.#host = new PluginHost(log, state);
  }

  /** One per proxy and runtime; a failure is not remembered. @param proxy @param runtime Ids. @throws as {@link runtime} */
  dataServer(proxy: string, runtime: string): Promise<S2DS> {
    return memoize(this.#dataServers, `${proxy} ${runtime}`, async () => {
      const inRuntime = await this.runtime(runtime);
      const provider = await this.providers.proxy(proxy);
      const context = await this.#host.context(join('proxies', proxy));
      const { gateway, onRestart } = this;
      return provider.create({ ...context, runtime: inRuntime, gateway, owner: await this.#owner(), onRestart });
    });
  }

  /** A runtime that answers, cleared of what nobody remembers. @throws SCI_RUNTIME_UNREACHABLE, SCI_PLUGIN_* */
  runtime(id: string): Promise<ContainerRuntime> {
    return memoize(this.#runtimes, id, async () => {
      const runtime = (await this.providers.runtime(id)).create(await this.#host.context(id));
      await runtime.ping();
      await this.#sweep(runtime);
      return runtime;
    });
  }

  /** Removes all of a stream that no data server has charge of. @param runtime Id. @throws as {@link runtime} */
  async clear(runtime: string, uid: string): Promise<void> {
    const where = await this.runtime(runtime);
    await removeAll(where, await where.list({ [LABELS.owner]: await this.#owner(), [LABELS.uid]: uid }));
  }

  /** Ends the plugins; what they run goes on. */
  close(): Promise<void> {
    return this.#host.close();
  }

  /** Tells this gateway's instances from those of others on the same engine; the same after a restart. */
  #owner(): Promise<string> {
    return memoize(this.#ids, 'owner', () => ownerId(this.state));
  }

  /** Removes instances of an earlier process that belong to no stream it remembered. */
  async #sweep(runtime: ContainerRuntime): Promise<void> {
    const all = await runtime.list({ [LABELS.managed]: 'true', [LABELS.owner]: await this.#owner() });
    const strays = all.filter(({ labels }) => !this.isKnown(labels[LABELS.uid] ?? ''));
    for (const { name, labels, status } of strays)
      this.log.warn({ instance: name, uid: labels[LABELS.uid], status }, 'removing a left-over instance');
    await removeAll(runtime, strays);
  }
}

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
