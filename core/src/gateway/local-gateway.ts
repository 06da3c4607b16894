import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import pLimit from 'p-limit';
import type { Address } from '../contracts/address.js';
import { messageOf, quote, S2DSException } from '../contracts/errors.js';
import type {
  ConnectResult,
  Gateway,
  GatewayDescription,
  GatewaySettings,
  ProbeOffer,
  Reservation,
} from '../contracts/gateway.js';
import type { Logger } from '../contracts/logger.js';
import type { ReservedListener } from '../contracts/port-allocator.js';
import type { S2DS } from '../contracts/s2ds.js';
import type { ListenerStatistics, Restarts, S2DSStatus, StreamSpec, StreamTls } from '../contracts/stream.js';
import { KeyedLock } from '../contracts/wait.js';
import type { Providers } from '../plugins/index.js';
import { mustSupport } from '../proxy/capabilities.js';
import type { WriteOptions } from '../store/state-database.js';
import { GatewayPlugins } from './gateway-plugins.js';
import { GatewayStore, repeated, requestOf, restartedOnce, type GatewayStream } from './gateway-store.js';
import { Orphans } from './orphans.js';
import { RangePortAllocator } from './range-port-allocator.js';
import { probeTarget, tryListener, tryTargets } from './stream-connections.js';
import { StreamEnd } from './stream-end.js';
import { StreamProbes } from './stream-probes.js';

/** Proxies being started at once: more would only make each of them slower, and miss its deadline. */
const CONCURRENT_STARTS = 8;
/** Streams being taken charge of at once. */
const CONCURRENT_ADOPTIONS = 32;

/** For the record of what is done: a process that dies before it is on the disk does it once more, which does no harm. */
const DONE: WriteOptions = { sync: false, owed: true };
/** For what is on the way out: neither a full disk nor anything else may keep it. */
const ENDING: WriteOptions = { owed: true };

type Change = Partial<GatewayStream>;
type Command = (stream: Stream, until: AbortSignal) => Promise<void>;

interface Stream {
  readonly s2ds: S2DS;
  readonly listeners: readonly ReservedListener[];
  readonly probes: StreamProbes;
  /** Emits `restarts` when the number of restarts changes, or never will again. */
  readonly changes: EventEmitter;
  readonly end: StreamEnd;
  /** Aborts when a release begins. */
  readonly released: AbortController;
  /** As the store has it. */
  kept: GatewayStream;
}

/** A gateway on the machine of this process. Owns its ports, its runtimes and the data servers (S2DS) in them. */
export class LocalGateway implements Gateway {
  readonly name: string;
  readonly #ports: RangePortAllocator;
  readonly #streams = new Map<string, Stream>();
  /** A release that overtakes the reservation would find nothing, and leave all of it. */
  readonly #lock = new KeyedLock();
  /** What is commanded of a stream that was reserved. */
  readonly #commands = new KeyedLock();
  /** Changes of what is kept of a stream. */
  readonly #keeping = new KeyedLock();
  readonly #starts = pLimit(CONCURRENT_STARTS);
  readonly #adoptions = pLimit(CONCURRENT_ADOPTIONS);
  readonly #plugins: GatewayPlugins;
  readonly #closing = new AbortController();
  readonly #orphans: Orphans;
  #opened: GatewayStore | undefined;

  constructor(
    private readonly settings: GatewaySettings,
    private readonly providers: Providers,
    private readonly log: Logger,
    /** Directory of this gateway's state, 0700. */
    private readonly state: string,
  ) {
    this.name = settings.name;
    const isKnown = (uid: string): boolean => this.#store.has(uid);
    const onRestart = (uid: string, reason: string): void => void this.#noteRestart(uid, reason);
    this.#plugins = new GatewayPlugins(settings.name, providers, log, state, isKnown, onRestart);
    this.#ports = new RangePortAllocator(settings.ports);
    this.#orphans = new Orphans(this.#closing.signal, log);
  }

  async open(): Promise<void> {
    this.#opened = await GatewayStore.open(join(this.state, 'gateway'));
    const left = this.#store.entries();
    // All of them before anything is awaited: from now on nobody else gets these ports.
    const ports = left.map(([uid, { spec, listeners, node }]) =>
      this.#ports.adopt({ uid, transport: spec.transport, addresses: listeners, remote: node !== undefined }),
    );
    const adoptions = left.map(([uid], i) => {
      const adopt = (): Promise<void> => this.#commands.run(uid, () => this.#adopt(uid, ports[i] ?? []));
      return this.#adoptions(adopt).catch((error: unknown) => this.#orphans.add(uid, error, adopt));
    });
    await Promise.all(adoptions);
    await this.#plugins.prepare(this.settings.proxy, this.settings.runtime);
  }

  /** Makes sure that a promise could be stored. @throws SCI_STATE_WRITE */
  check(): Promise<void> {
    return this.#store.check();
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

  reserve(uid: string, spec: StreamSpec, tls?: StreamTls): Promise<Reservation> {
    return this.#lock.run(uid, () => this.#reserve(uid, { spec, ...(tls && { tls }) }));
  }

  async start(uid: string, signal: AbortSignal): Promise<void> {
    await this.#command(uid, signal, async (stream, until) => {
      // The same command may have come before, and its answer been lost.
      if (stream.kept.state === 'running') return;
      await this.#keep(uid, { state: 'starting' });
      await this.#starts(async () => {
        until.throwIfAborted();
        await stream.s2ds.start(requestOf(uid, stream.kept, stream.listeners), until);
      });
      // Not by the signal of the caller: it runs, whether anybody still waits for that or not.
      stream.released.signal.throwIfAborted();
      await this.#keep(uid, { state: 'running' }, DONE);
    });
  }

  async updateTargets(uid: string, targets: readonly Address[], signal: AbortSignal): Promise<void> {
    await this.#command(uid, signal, async ({ s2ds, kept }, until) => {
      // Written first: should this process die in between, the next one puts them in force.
      await this.#keep(uid, { targets, inForce: false });
      try {
        await s2ds.updateTargets(uid, targets, until);
      } catch (error) {
        const before = (now: GatewayStream): Change => (now.targets === targets ? { targets: kept.targets } : {});
        await this.#keep(uid, before, ENDING).catch((failure: unknown) => {
          this.log.debug({ uid, error: messageOf(failure) }, 'old targets went with their stream');
        });
        throw error;
      }
      await this.#keep(uid, { targets, inForce: true }, DONE);
    });
  }

  /**
   * Runs commands of one stream one after another: they may be repeated while the first still runs. A release waits for
   * none of them, and ends them.
   */
  async #command(uid: string, signal: AbortSignal, work: Command): Promise<void> {
    const { released } = this.#stream(uid);
    const until = AbortSignal.any([signal, released.signal]);
    await this.#commands.run(uid, async () => {
      until.throwIfAborted();
      await work(this.#stream(uid), until);
    });
  }

  /**
   * Also of a stream whose runtime is not known any more. One whose runtime does not answer ends when it does.
   * @throws SCI_RUNTIME_UNREACHABLE then, and may be called again
   */
  release(uid: string): Promise<readonly ListenerStatistics[]> {
    return this.#lock.run(uid, async () => {
      if (this.#orphans.has(uid)) await this.#releaseOrphan(uid);
      return await this.#release(uid);
    });
  }

  async handover(uid: string): Promise<StreamTls | undefined> {
    return this.#stream(uid).kept.tls;
  }

  async status(uid: string): Promise<S2DSStatus> {
    const { s2ds, kept } = this.#stream(uid);
    const status = await s2ds.status(uid);
    return { ...status, restarts: Math.max(status.restarts, kept.restarts?.count ?? 0) };
  }

  /** @param signal Aborts when nobody waits any more, and then it rejects with that: what waits for a stream lives as long. */
  async ended(uid: string, signal?: AbortSignal): Promise<S2DSException | undefined> {
    await this.#orphans.adopted(uid);
    return await this.#stream(uid).end.wait(signal);
  }

  /** @param signal As of `ended`. */
  async restarted(uid: string, seen: number, signal?: AbortSignal): Promise<Restarts | undefined> {
    await this.#orphans.adopted(uid);
    for (;;) {
      const stream = this.#streams.get(uid);
      const { restarts } = stream?.kept ?? {};
      if (!stream || (restarts && restarts.count > seen)) return restarts;
      await once(stream.changes, 'restarts', { signal });
    }
  }

  openProbe(uid: string): Promise<ProbeOffer> {
    return this.#stream(uid).probes.open();
  }

  async runProbe(uid: string, address: Address, challenge: string): Promise<number> {
    return await probeTarget(uid, this.#stream(uid).kept.targets, address, challenge);
  }

  async connectTargets(uid: string): Promise<readonly ConnectResult[]> {
    return await tryTargets(this.#stream(uid).kept.targets);
  }

  async connectListener(uid: string, holdMs: number, signal: AbortSignal): Promise<readonly ConnectResult[]> {
    return await tryListener(this.#stream(uid).listeners, holdMs, signal);
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
      await this.#orphans.close();
      const streams = [...this.#streams.values()];
      await Promise.all(
        streams.flatMap(({ probes, listeners }) => [probes.close(), ...listeners.map((l) => l.letGo())]),
      );
      await this.#plugins.close();
    } finally {
      await this.#opened?.close();
    }
  }

  get #store(): GatewayStore {
    if (this.#opened) return this.#opened;
    throw new S2DSException('SCI_BUG', `Gateway ${this.name} is used before it was opened.`);
  }

  #stream(uid: string): Stream {
    const stream = this.#streams.get(uid);
    if (stream) return stream;
    if (this.#orphans.has(uid)) throw this.#orphans.error(uid);
    throw new S2DSException('SCI_STREAM_NOT_FOUND', `Gateway ${this.name} has no stream ${quote(uid)}.`);
  }

  async #reserve(uid: string, asked: Pick<GatewayStream, 'spec' | 'tls'>): Promise<Reservation> {
    const known = this.#orphans.has(uid) ? this.#stream(uid) : this.#streams.get(uid);
    if (known) return { ...repeated(this.name, uid, asked, known.kept), rateEnforced: known.s2ds.supports.rateLimit };
    const { spec, tls } = asked;
    const found = this.providers.resolve(spec.proxy || this.settings.proxy, spec.runtime || this.settings.runtime);
    const s2ds = await this.#plugins.s2ds(found.proxy, found.runtime);
    const runtime = await this.#plugins.runtime(found.runtime);
    mustSupport(found.proxy, s2ds.supports, { ...spec, tls });
    const placement = await runtime.place?.(uid);
    const { wan, lan } = placement ?? this.settings;
    const host = spec.role === 'inbound' ? wan : lan;
    const { transport, connections: count } = spec;
    const listeners = await this.#ports.allocate({ uid, host, transport, count, remote: placement !== undefined });
    const addresses = listeners.map(({ address }) => address);
    const node = placement ? { node: placement.node } : {};
    const kept: GatewayStream = { ...asked, ...found, listeners: addresses, ...node, state: 'reserved', targets: [] };
    await this.#store.put(uid, kept).catch(async (error: unknown) => {
      await this.#ports.release(uid);
      throw error;
    });
    this.#charge(uid, s2ds, listeners, host, kept);
    return { gateway: this.name, ...found, listeners: addresses, rateEnforced: s2ds.supports.rateLimit };
  }

  async #release(uid: string): Promise<readonly ListenerStatistics[]> {
    const stream = this.#streams.get(uid);
    if (!stream) return [];
    stream.released.abort(new S2DSException('SCI_STREAM_RELEASED', `Stream ${uid} is being released.`));
    const last = await stream.s2ds.status(uid).catch((error: unknown) => {
      this.log.debug({ uid, error: messageOf(error) }, 'no last counters');
      return undefined;
    });
    await this.#keep(uid, { state: 'releasing' }, ENDING);
    await Promise.all([stream.s2ds.release(uid), stream.probes.close()]);
    await this.#ports.release(uid);
    await this.#keeping.run(uid, () => this.#store.delete(uid));
    this.#streams.delete(uid);
    stream.changes.emit('restarts');
    return last?.listeners ?? [];
  }

  /** Returns when somebody has charge of it, or nothing of it is left. */
  async #releaseOrphan(uid: string): Promise<void> {
    await this.#orphans.take(uid);
    const kept = this.#store.get(uid);
    if (this.#streams.has(uid) || !kept) return;
    // From now on whoever takes charge of it ends it.
    await this.#store.put(uid, { ...kept, state: 'releasing' }, ENDING);
    try {
      await this.#clear(uid, kept);
    } catch (error) {
      this.#orphans.add(uid, error, () => this.#clear(uid, kept));
      throw this.#orphans.error(uid);
    }
  }

  /** Ends a stream that no S2DS has charge of. */
  async #clear(uid: string, { runtime }: GatewayStream): Promise<void> {
    await this.#plugins.clear(runtime, uid);
    await this.#ports.release(uid);
    await this.#store.delete(uid);
  }

  #keep(uid: string, change: Change | ((kept: GatewayStream) => Change), options?: WriteOptions): Promise<void> {
    return this.#keeping.run(uid, async () => {
      const stream = this.#stream(uid);
      const kept = { ...stream.kept, ...(typeof change === 'function' ? change(stream.kept) : change) };
      await this.#store.put(uid, kept, options);
      stream.kept = kept;
    });
  }

  #charge(uid: string, s2ds: S2DS, listeners: readonly ReservedListener[], host: string, kept: GatewayStream): void {
    const probes = new StreamProbes(this.#ports, uid, host);
    const [changes, released] = [new EventEmitter().setMaxListeners(0), new AbortController()];
    const end = new StreamEnd(() => s2ds.ended(uid));
    this.#streams.set(uid, { s2ds, listeners, probes, changes, end, released, kept });
  }

  /** Never rejects. */
  async #noteRestart(uid: string, reason: string): Promise<void> {
    const stream = this.#streams.get(uid);
    if (!stream || this.#closing.signal.aborted) return;
    const restart = { at: new Date().toISOString(), reason };
    await this.#keep(uid, ({ restarts }) => ({ restarts: restartedOnce(restarts, restart) }), DONE).catch(
      (error: unknown) => {
        this.log.error({ uid, error: messageOf(error) }, 'restart could not be noted');
      },
    );
    stream.changes.emit('restarts');
  }

  /** Takes charge of a stream of an earlier process, in whatever state that left it. */
  async #adopt(uid: string, listeners: readonly ReservedListener[]): Promise<void> {
    const known = this.#store.get(uid);
    if (known?.state === 'releasing') return await this.#clear(uid, known);
    const kept = await this.#store.complete(uid);
    if (!kept) return;
    const s2ds = await this.#plugins.s2ds(kept.proxy, kept.runtime);
    const request = requestOf(uid, kept, listeners);
    const host = kept.listeners[0]?.host ?? this.settings.wan;
    const running = await s2ds.adopt(request, kept.targets);
    this.#charge(uid, s2ds, listeners, host, kept);
    if (kept.state === 'reserved') {
      // Nobody has them meanwhile, unless somebody was quick; then the start of the proxy says so.
      await Promise.allSettled(listeners.map((listener) => listener.hold()));
      return;
    }
    if (!running) {
      this.log.warn({ uid, proxy: kept.proxy }, 'stream does not run any more and is started again');
      await s2ds.start(request, this.#closing.signal);
      if (kept.state === 'running')
        await this.#noteRestart(uid, 'It did not run any more when the gateway was started.');
    }
    // Also where it runs: the earlier process may have died between the decision and the deed.
    const doubtful = kept.targets.length > 0 && !(running && kept.inForce);
    if (doubtful) await s2ds.updateTargets(uid, kept.targets, this.#closing.signal);
    if (doubtful || kept.state !== 'running') await this.#keep(uid, { state: 'running', inForce: true }, DONE);
    this.log.info({ uid, proxy: kept.proxy, running }, 'took charge of a stream');
  }
}
