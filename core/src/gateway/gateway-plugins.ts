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
import type { Providers } from '../plugins/index.js';
import { ownerId } from './server-id.js';

/** The shortest time between two attempts to remove what could not be removed, ms. */
const SWEEP_AGAIN_MS = 5_000;
/** Left-overs being removed at once. */
const CONCURRENT_REMOVALS = 8;

/** The runtimes of a gateway and the data servers (S2DS) in them, each made when it is first needed. */
export class GatewayPlugins {
  readonly #runtimes = new Map<string, Promise<ContainerRuntime>>();
  readonly #s2ds = new Map<string, Promise<S2DS>>();
  readonly #ids = new Map<string, Promise<string>>();
  /** Runtimes with something in them that could not be removed, and when that was tried, ms. */
  readonly #unswept = new Map<string, number>();
  #sweeping = Promise.resolve();
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
  s2ds(proxy: string, runtime: string): Promise<S2DS> {
    return memoize(this.#s2ds, `${proxy} ${runtime}`, async () => {
      const inRuntime = await this.runtime(runtime);
      const provider = await this.providers.proxy(proxy);
      const context = await this.#host.context(join('proxies', proxy));
      const { gateway, onRestart } = this;
      return provider.create({ ...context, runtime: inRuntime, gateway, owner: await this.#owner(), onRestart });
    });
  }

  /**
   * A runtime that answers, cleared of what nobody remembers, as far as that can be removed; the rest is tried again when
   * the runtime is used later. @throws SCI_RUNTIME_UNREACHABLE, SCI_PLUGIN_*
   */
  async runtime(id: string): Promise<ContainerRuntime> {
    const runtime = await memoize(this.#runtimes, id, async () => {
      const runtime = (await this.providers.runtime(id)).create(await this.#host.context(id));
      await runtime.ping();
      await this.#sweep(id, runtime, await this.#owner());
      return runtime;
    });
    const last = this.#unswept.get(id);
    // Nobody waits for it: what cannot be ended may take its time each time.
    if (last !== undefined && performance.now() - last > SWEEP_AGAIN_MS)
      this.#sweeping = this.#sweep(id, runtime, await this.#owner());
    return runtime;
  }

  /** Makes what is used by default. A runtime that does not answer is logged: it may come back. @throws SCI_PLUGIN_* … */
  async prepare(proxy: string, runtime: string): Promise<void> {
    try {
      await this.s2ds(proxy, runtime);
    } catch (error) {
      // What is in other runtimes has to be looked after meanwhile.
      if (!hasCode(error, 'SCI_RUNTIME_UNREACHABLE')) throw error;
      const { message, suggestions } = error;
      this.log.warn({ runtime, error: message, suggestions }, 'runtime does not answer');
    }
  }

  /** Removes all of a stream that no data server has charge of. @param runtime Id. @throws SCI_RUNTIME_UNREACHABLE … */
  async clear(runtime: string, uid: string): Promise<void> {
    try {
      const where = await this.runtime(runtime);
      await removeAll(where, await where.list({ [LABELS.owner]: await this.#owner(), [LABELS.uid]: uid }));
    } catch (error) {
      // Nobody could ever end it. Should its runtime come back, what nobody remembers is removed there.
      if (!hasCode(error, 'SCI_RUNTIME_UNKNOWN')) throw error;
      this.log.warn({ uid, runtime }, 'forgetting a released stream whose runtime is not known any more');
    }
  }

  /** Ends the plugins; what they run goes on. */
  async close(): Promise<void> {
    await this.#sweeping;
    await this.#host.close();
  }

  /** Tells this gateway's instances from those of others on the same engine; the same after a restart. */
  #owner(): Promise<string> {
    return memoize(this.#ids, 'owner', () => ownerId(this.state));
  }

  /**
   * Removes instances of an earlier process that belong to no stream it remembered. One that cannot be removed must not
   * keep others from being used. Never rejects.
   */
  async #sweep(id: string, runtime: ContainerRuntime, owner: string): Promise<void> {
    this.#unswept.set(id, performance.now());
    try {
      const all = await runtime.list({ [LABELS.managed]: 'true', [LABELS.owner]: owner });
      const few = pLimit(CONCURRENT_REMOVALS);
      const removed = await Promise.all(all.map((each) => few(() => this.#removeStray(runtime, each))));
      if (removed.every(Boolean)) this.#unswept.delete(id);
    } catch (error) {
      this.log.error({ runtime: id, error: messageOf(error) }, 'cannot look for left-over instances');
    }
  }

  /** @returns Whether it is gone, or not astray */
  async #removeStray(runtime: ContainerRuntime, instance: ContainerState): Promise<boolean> {
    const { name, labels, status } = instance;
    const uid = labels[LABELS.uid] ?? '';
    if (this.isKnown(uid)) return true;
    this.log.warn({ instance: name, uid, status }, 'removing a left-over instance');
    try {
      await removeAll(runtime, [instance]);
      return true;
    } catch (error) {
      const what = 'left-over instance cannot be removed; that is tried again';
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
