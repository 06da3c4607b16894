import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pLimit from 'p-limit';
import { formatAddress, type Address } from '../address.js';
import { mustSupport } from '../capabilities.js';
import { LABELS, type ContainerRuntime } from '../container-runtime.js';
import { messageOf, quote, S2DSException } from '../errors.js';
import type { Logger } from '../logger.js';
import { PluginHost } from '../plugins/host.js';
import type { Providers } from '../plugins/index.js';
import type { ReservedListener } from '../port-allocator.js';
import type { ListenerStatistics, S2DS, S2DSStatus } from '../s2ds.js';
import type {
  ConnectResult,
  DataServer,
  GatewayDescription,
  ProbeOffer,
  Reservation,
  ReserveRequest,
} from './data-server.js';
import { writeAtomically } from './files.js';
import { runProbe, tryConnect } from './probe.js';
import { RangePortAllocator, type PortRange } from './range-port-allocator.js';
import { StreamProbes } from './stream-probes.js';

const MAX_HOLD_MS = 10_000;
/** Proxies being started at once: more would only make each of them slower, and miss its deadline. */
const CONCURRENT_STARTS = 8;

/** The keys of the same names in the configuration of a gateway. */
export interface GatewaySettings {
  readonly name: string;
  readonly wan: string;
  readonly lan: string;
  readonly ports: PortRange;
  /** Defaults for streams that name none. */
  readonly proxy: string;
  readonly runtime: string;
}

interface Stream {
  readonly request: ReserveRequest;
  readonly s2ds: S2DS;
  readonly listeners: readonly ReservedListener[];
  readonly probes: StreamProbes;
  /** Where the runtime placed it, if it has several machines. */
  readonly node?: string;
  targets: readonly Address[];
}

/** A gateway on the machine of this process. Owns its ports, its runtimes and the data servers (S2DS) in them. */
export class EmbeddedDataServer implements DataServer {
  readonly #ports: RangePortAllocator;
  readonly #streams = new Map<string, Stream>();
  readonly #runtimes = new Map<string, Promise<ContainerRuntime>>();
  readonly #dataServers = new Map<string, Promise<S2DS>>();
  readonly #ids = new Map<string, Promise<string>>();
  readonly #starts = pLimit(CONCURRENT_STARTS);
  readonly #host: PluginHost;

  constructor(
    private readonly settings: GatewaySettings,
    private readonly providers: Providers,
    private readonly log: Logger,
    /** Directory of this gateway's state, 0700. */
    private readonly state: string,
  ) {
    this.#host = new PluginHost(log, state);
    this.#ports = new RangePortAllocator(settings.ports);
  }

  async open(): Promise<void> {
    await this.#dataServer(this.settings.proxy, this.settings.runtime);
  }

  get name(): string {
    return this.settings.name;
  }

  async describe(): Promise<GatewayDescription> {
    const { ports, name, wan, lan, proxy, runtime } = this.settings;
    return {
      name,
      wan,
      lan,
      proxy,
      runtime,
      ports: `${ports.first}-${ports.last}`,
      portsInUse: this.#ports.inUse().length,
    };
  }

  async reserve(request: ReserveRequest): Promise<Reservation> {
    const found = this.providers.resolve(
      request.proxy || this.settings.proxy,
      request.runtime || this.settings.runtime,
    );
    const s2ds = await this.#dataServer(found.proxy, found.runtime);
    const runtime = await this.#runtime(found.runtime);
    mustSupport(found.proxy, s2ds.supports, request);
    const { uid, transport, count } = request;
    const placement = await runtime.place?.(uid);
    const { wan, lan } = placement ?? this.settings;
    const host = request.role === 'PROD' ? wan : lan;
    const listeners = await this.#ports.allocate({ uid, host, transport, count, remote: placement !== undefined });
    const probes = new StreamProbes(this.#ports, uid, host);
    const node = placement ? { node: placement.node } : {};
    this.#streams.set(uid, { request, s2ds, listeners, probes, targets: [], ...node });
    return {
      gateway: this.settings.name,
      ...found,
      listeners: listeners.map(({ address }) => address),
      rateEnforced: s2ds.supports.rateLimit,
    };
  }

  async start(uid: string, signal: AbortSignal): Promise<void> {
    const { request, s2ds, listeners, node } = this.#stream(uid);
    const { role, transport, bitsPerSecond, tls } = request;
    const wanted = {
      ...(bitsPerSecond > 0 ? { bitsPerSecond } : {}),
      ...(tls ? { tls } : {}),
      ...(node ? { node } : {}),
    };
    await this.#starts(async () => {
      signal.throwIfAborted();
      await s2ds.start({ uid, role, transport, listeners, ...wanted }, signal);
    });
  }

  async updateTargets(uid: string, targets: readonly Address[], signal: AbortSignal): Promise<void> {
    const stream = this.#stream(uid);
    await stream.s2ds.updateTargets(uid, targets, signal);
    stream.targets = targets;
  }

  async release(uid: string): Promise<readonly ListenerStatistics[]> {
    const stream = this.#streams.get(uid);
    if (!stream) return [];
    const last = await stream.s2ds.status(uid).catch((error: unknown) => {
      this.log.debug({ uid, error: messageOf(error) }, 'no last counters');
      return undefined;
    });
    await Promise.all([stream.s2ds.release(uid), stream.probes.close()]);
    await this.#ports.release(uid);
    this.#streams.delete(uid);
    return last?.listeners ?? [];
  }

  status(uid: string): Promise<S2DSStatus> {
    return this.#stream(uid).s2ds.status(uid);
  }

  ended(uid: string): Promise<S2DSException | undefined> {
    return this.#stream(uid).s2ds.ended(uid);
  }

  openProbe(uid: string): Promise<ProbeOffer> {
    return this.#stream(uid).probes.open();
  }

  async runProbe(uid: string, address: Address, challenge: string): Promise<number> {
    const { targets } = this.#stream(uid);
    // A gateway that connects wherever a client says would be a port scanner.
    if (!targets.some(({ host }) => host === address.host)) {
      throw new S2DSException(
        'SCI_FORBIDDEN',
        `${formatAddress(address)} is on no host that is a target of stream ${uid}.`,
      );
    }
    return await runProbe(address, challenge);
  }

  connectTargets(uid: string): Promise<readonly ConnectResult[]> {
    const { targets } = this.#stream(uid);
    const distinct = new Map(targets.map((target) => [formatAddress(target), target]));
    return Promise.all([...distinct.values()].map((target) => tryConnect(target, 0)));
  }

  async connectListener(uid: string, holdMs: number, signal: AbortSignal): Promise<readonly ConnectResult[]> {
    const [first] = this.#stream(uid).listeners;
    return first ? [await tryConnect(first.address, Math.min(holdMs, MAX_HOLD_MS), signal)] : [];
  }

  /** Releases every stream. @throws The first reason why one could not be released, after all were tried. */
  async releaseAll(): Promise<void> {
    const releases = [...this.#streams.keys()].map((uid) => this.release(uid));
    const failed = (await Promise.allSettled(releases)).find((release) => release.status === 'rejected');
    if (failed) throw failed.reason;
  }

  async close(): Promise<void> {
    try {
      await this.releaseAll();
    } finally {
      await this.#host.close();
    }
  }

  #stream(uid: string): Stream {
    const stream = this.#streams.get(uid);
    if (stream) return stream;
    throw new S2DSException('SCI_STREAM_NOT_FOUND', `Gateway ${this.settings.name} has no stream ${quote(uid)}.`);
  }

  /** One per proxy and runtime, made when first needed; a failure is not remembered. */
  #dataServer(proxy: string, runtime: string): Promise<S2DS> {
    return memoize(this.#dataServers, `${proxy} ${runtime}`, async () => {
      const inRuntime = await this.#runtime(runtime);
      const provider = await this.providers.proxy(proxy);
      const context = await this.#host.context(join('proxies', proxy));
      return provider.create({
        ...context,
        runtime: inRuntime,
        gateway: this.settings.name,
        owner: await this.#owner(),
      });
    });
  }

  #runtime(id: string): Promise<ContainerRuntime> {
    return memoize(this.#runtimes, id, async () => {
      const runtime = (await this.providers.runtime(id)).create(await this.#host.context(id));
      await runtime.ping();
      await this.#sweep(runtime);
      return runtime;
    });
  }

  /** Tells this data server's instances from those of others on the same engine; the same after a restart. */
  #owner(): Promise<string> {
    return memoize(this.#ids, 'owner', async () => {
      const file = join(this.state, 'owner');
      const known = await readFile(file, 'utf8').catch(() => '');
      const id = known.trim() || randomUUID();
      if (!known) await writeAtomically(file, id);
      return id;
    });
  }

  /**
   * Removes the instances of an earlier process, which nobody can release any more; also under another name of the
   * gateway, for the state directory is this process's alone.
   */
  async #sweep(runtime: ContainerRuntime): Promise<void> {
    const strays = await runtime.list({ [LABELS.managed]: 'true', [LABELS.owner]: await this.#owner() });
    for (const stray of strays) {
      this.log.warn(
        { instance: stray.name, uid: stray.labels[LABELS.uid], status: stray.status },
        'removing a left-over instance',
      );
      await runtime.stop(stray, 0);
      await runtime.remove(stray);
    }
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
