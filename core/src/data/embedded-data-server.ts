import { join } from 'node:path';
import pLimit from 'p-limit';
import { formatAddress, type Address } from '../address.js';
import { mustSupport } from '../capabilities.js';
import { messageOf, quote, S2DSException } from '../errors.js';
import type { Logger } from '../logger.js';
import type { Providers } from '../plugins/index.js';
import type { ReservedListener } from '../port-allocator.js';
import type { ListenerStatistics, S2DS, S2DSStatus, StreamRequest } from '../s2ds.js';
import { poll } from '../wait.js';
import type {
  ConnectResult,
  DataServer,
  GatewayDescription,
  ProbeOffer,
  Reservation,
  ReserveRequest,
} from './data-server.js';
import { GatewayPlugins } from './gateway-plugins.js';
import { GatewayStore, type GatewayStream } from './gateway-store.js';
import { runProbe, tryConnect } from './probe.js';
import { RangePortAllocator, type PortRange } from './range-port-allocator.js';
import { StreamProbes } from './stream-probes.js';

const MAX_HOLD_MS = 10_000;
/** Proxies being started at once: more would only make each of them slower, and miss its deadline. */
const CONCURRENT_STARTS = 8;
/** Streams being taken charge of at once. */
const CONCURRENT_ADOPTIONS = 32;
/** Between two attempts to take charge of a stream whose runtime does not answer, ms. */
const ADOPTION_RETRY_MS = 2_000;

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
  readonly s2ds: S2DS;
  readonly listeners: readonly ReservedListener[];
  readonly probes: StreamProbes;
  /** As the store has it. */
  kept: GatewayStream;
}

/** A gateway on the machine of this process. Owns its ports, its runtimes and the data servers (S2DS) in them. */
export class EmbeddedDataServer implements DataServer {
  readonly #ports: RangePortAllocator;
  readonly #streams = new Map<string, Stream>();
  /** Streams of an earlier process that nobody has charge of yet. */
  readonly #orphans = new Map<string, Promise<void>>();
  readonly #starts = pLimit(CONCURRENT_STARTS);
  readonly #adoptions = pLimit(CONCURRENT_ADOPTIONS);
  readonly #plugins: GatewayPlugins;
  readonly #closing = new AbortController();
  #opened: GatewayStore | undefined;

  constructor(
    private readonly settings: GatewaySettings,
    private readonly providers: Providers,
    private readonly log: Logger,
    /** Directory of this gateway's state, 0700. */
    private readonly state: string,
  ) {
    this.#plugins = new GatewayPlugins(settings.name, providers, log, state, (uid) => this.#store.has(uid));
    this.#ports = new RangePortAllocator(settings.ports);
  }

  async open(): Promise<void> {
    this.#opened = await GatewayStore.open(join(this.state, 'gateway'));
    const left = this.#store.entries();
    // All of them before anything is awaited: from now on nobody else gets these ports.
    const ports = left.map(([uid, { request, listeners, node }]) =>
      this.#ports.adopt({ uid, transport: request.transport, addresses: listeners, remote: node !== undefined }),
    );
    const first = left.map(([uid, stream], i) => this.#adoptions(() => this.#adopt(uid, stream, ports[i] ?? [])));
    for (const [i, outcome] of (await Promise.allSettled(first)).entries()) {
      const [uid, stream] = left[i] ?? [];
      if (outcome.status === 'fulfilled' || uid === undefined || !stream) continue;
      this.log.error({ uid, error: messageOf(outcome.reason) }, 'cannot take charge of a stream yet');
      this.#orphans.set(uid, this.#adoptLater(uid, stream, ports[i] ?? []));
    }
    await this.#plugins.dataServer(this.settings.proxy, this.settings.runtime);
  }

  get name(): string {
    return this.settings.name;
  }

  async keep(uids: readonly string[]): Promise<void> {
    const strays = this.#store.entries().filter(([uid]) => !uids.includes(uid));
    for (const [uid] of strays) {
      this.log.warn({ uid }, 'releasing a stream that the control server does not know');
      await this.release(uid).catch((error: unknown) => {
        this.log.error({ uid, error: messageOf(error) }, 'stream could not be released; the next start tries again');
      });
    }
  }

  async describe(): Promise<GatewayDescription> {
    const { ports, name, wan, lan, proxy, runtime } = this.settings;
    const range = `${ports.first}-${ports.last}`;
    return { name, wan, lan, proxy, runtime, ports: range, portsInUse: this.#ports.inUse().length };
  }

  async reserve(request: ReserveRequest): Promise<Reservation> {
    const found = this.providers.resolve(
      request.proxy || this.settings.proxy,
      request.runtime || this.settings.runtime,
    );
    const s2ds = await this.#plugins.dataServer(found.proxy, found.runtime);
    const runtime = await this.#plugins.runtime(found.runtime);
    mustSupport(found.proxy, s2ds.supports, request);
    const { uid, transport, count } = request;
    const placement = await runtime.place?.(uid);
    const { wan, lan } = placement ?? this.settings;
    const host = request.role === 'PROD' ? wan : lan;
    const listeners = await this.#ports.allocate({ uid, host, transport, count, remote: placement !== undefined });
    const addresses = listeners.map(({ address }) => address);
    const node = placement ? { node: placement.node } : {};
    const kept: GatewayStream = { request, ...found, listeners: addresses, ...node, state: 'reserved', targets: [] };
    await this.#store.put(uid, kept).catch(async (error: unknown) => {
      await this.#ports.release(uid);
      throw error;
    });
    this.#streams.set(uid, { s2ds, listeners, probes: new StreamProbes(this.#ports, uid, host), kept });
    const { rateLimit } = s2ds.supports;
    return { gateway: this.settings.name, ...found, listeners: addresses, rateEnforced: rateLimit };
  }

  async start(uid: string, signal: AbortSignal): Promise<void> {
    const stream = this.#stream(uid);
    if (stream.kept.state === 'running') return;
    await this.#keep(uid, { state: 'starting' });
    await this.#starts(async () => {
      signal.throwIfAborted();
      await stream.s2ds.start(requestOf(stream.kept, stream.listeners), signal);
    });
    await this.#keep(uid, { state: 'running' });
  }

  async updateTargets(uid: string, targets: readonly Address[], signal: AbortSignal): Promise<void> {
    const { s2ds, kept } = this.#stream(uid);
    // Written first: should this process die in between, the next one puts them in force.
    await this.#keep(uid, { targets });
    try {
      await s2ds.updateTargets(uid, targets, signal);
    } catch (error) {
      await this.#keep(uid, { targets: kept.targets });
      throw error;
    }
  }

  async release(uid: string): Promise<readonly ListenerStatistics[]> {
    if (this.#orphans.has(uid)) throw this.#orphaned(uid);
    const stream = this.#streams.get(uid);
    if (!stream) return [];
    const last = await stream.s2ds.status(uid).catch((error: unknown) => {
      this.log.debug({ uid, error: messageOf(error) }, 'no last counters');
      return undefined;
    });
    await this.#keep(uid, { state: 'releasing' });
    await Promise.all([stream.s2ds.release(uid), stream.probes.close()]);
    await this.#ports.release(uid);
    await this.#store.delete(uid);
    this.#streams.delete(uid);
    return last?.listeners ?? [];
  }

  async status(uid: string): Promise<S2DSStatus> {
    return await this.#stream(uid).s2ds.status(uid);
  }

  async ended(uid: string): Promise<S2DSException | undefined> {
    await this.#orphans.get(uid);
    return await this.#stream(uid).s2ds.ended(uid);
  }

  openProbe(uid: string): Promise<ProbeOffer> {
    return this.#stream(uid).probes.open();
  }

  async runProbe(uid: string, address: Address, challenge: string): Promise<number> {
    const { targets } = this.#stream(uid).kept;
    // A gateway that connects wherever a client says would be a port scanner.
    if (!targets.some(({ host }) => host === address.host)) {
      const where = formatAddress(address);
      throw new S2DSException('SCI_FORBIDDEN', `${where} is on no host that is a target of stream ${uid}.`);
    }
    return await runProbe(address, challenge);
  }

  connectTargets(uid: string): Promise<readonly ConnectResult[]> {
    const distinct = new Map(this.#stream(uid).kept.targets.map((target) => [formatAddress(target), target]));
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
    this.#closing.abort();
    try {
      await Promise.allSettled(this.#orphans.values());
      const streams = [...this.#streams.values()];
      await Promise.all(streams.map(({ probes }) => probes.close()));
      await Promise.all(streams.flatMap(({ listeners }) => listeners.map((listener) => listener.letGo())));
      await this.#plugins.close();
    } finally {
      await this.#opened?.close();
    }
  }

  get #store(): GatewayStore {
    if (this.#opened) return this.#opened;
    throw new S2DSException('SCI_BUG', `Gateway ${this.settings.name} is used before it was opened.`);
  }

  #stream(uid: string): Stream {
    const stream = this.#streams.get(uid);
    if (stream) return stream;
    if (this.#orphans.has(uid)) throw this.#orphaned(uid);
    throw new S2DSException('SCI_STREAM_NOT_FOUND', `Gateway ${this.settings.name} has no stream ${quote(uid)}.`);
  }

  #orphaned(uid: string): S2DSException {
    return new S2DSException(
      'SCI_RUNTIME_UNREACHABLE',
      `The runtime of stream ${uid} has not answered since the start.`,
      {
        suggestions: ['See the log of the daemon, and try again when the runtime is back.'],
      },
    );
  }

  async #keep(uid: string, change: Partial<GatewayStream>): Promise<void> {
    const stream = this.#stream(uid);
    const kept = { ...stream.kept, ...change };
    await this.#store.put(uid, kept);
    stream.kept = kept;
  }

  /** Takes charge of a stream of an earlier process, in whatever state that left it. */
  async #adopt(uid: string, kept: GatewayStream, listeners: readonly ReservedListener[]): Promise<void> {
    const s2ds = await this.#plugins.dataServer(kept.proxy, kept.runtime);
    const request = requestOf(kept, listeners);
    const host = kept.listeners[0]?.host ?? this.settings.wan;
    const running = await s2ds.adopt(request, kept.targets);
    this.#streams.set(uid, { s2ds, listeners, probes: new StreamProbes(this.#ports, uid, host), kept });
    if (kept.state === 'releasing') return void (await this.release(uid));
    if (kept.state === 'reserved') {
      // Nobody has them meanwhile, unless somebody was quick; then the start of the proxy says so.
      await Promise.allSettled(listeners.map((listener) => listener.hold()));
      return;
    }
    if (!running) {
      this.log.warn({ uid, proxy: kept.proxy }, 'stream does not run any more and is started again');
      await s2ds.start(request, this.#closing.signal);
    }
    // Also where it runs: the earlier process may have died between the decision and the deed.
    if (kept.targets.length > 0) await s2ds.updateTargets(uid, kept.targets, this.#closing.signal);
    await this.#keep(uid, { state: 'running' });
    this.log.info({ uid, proxy: kept.proxy, running }, 'took charge of a stream');
  }

  /** Until it works or the stream proves to be lost; what the log says is all there is until then. */
  async #adoptLater(uid: string, kept: GatewayStream, listeners: readonly ReservedListener[]): Promise<void> {
    const attempt = async (): Promise<true> => {
      await this.#adopt(uid, kept, listeners);
      return true;
    };
    const forever = {
      timeoutMs: Number.POSITIVE_INFINITY,
      intervalMs: ADOPTION_RETRY_MS,
      signal: this.#closing.signal,
    };
    await poll(attempt, forever, () => new Error('unreachable')).catch(() => undefined);
    this.#orphans.delete(uid);
  }
}

function requestOf({ request, node }: GatewayStream, listeners: readonly ReservedListener[]): StreamRequest {
  const { uid, role, transport, bitsPerSecond, tls } = request;
  return {
    uid,
    role,
    transport,
    listeners,
    ...(bitsPerSecond > 0 ? { bitsPerSecond } : {}),
    ...(tls ? { tls } : {}),
    ...(node === undefined ? {} : { node }),
  };
}
