import { join } from 'node:path';
import pLimit from 'p-limit';
import { inject, injectable } from 'tsyringe';
import type { Address, Target } from '../contracts/address.js';
import { messageOf, S2DSException, toSciStreamError } from '../contracts/errors.js';
import type {
  ConnectResult,
  Gateway,
  GatewayDescription,
  GatewaySettings,
  ProbeOffer,
  Reservation,
} from '../contracts/gateway.js';
import type { Logger } from '../contracts/logger.js';
import { machineAddresses } from '../contracts/machine.js';
import type {
  ListenerStatistics,
  ProbeAnswer,
  Restarts,
  S2DSStatus,
  StreamSpec,
  StreamTls,
} from '../contracts/stream.js';
import { Providers } from '../plugins/index.js';
import { probeListeners } from './listener-probe.js';
import { GatewayPlugins } from './plugins.js';
import { RangePortAllocator } from './ports.js';
import { probeSockets } from './probe-runs.js';
import { mustBeTarget, probeTarget, tryListener, tryTargets } from './probes.js';
import { GatewayStore } from './store.js';
import { StreamHandle } from './stream-handle.js';
import { unknownStream, type GatewayParts, type Stream } from './stream.js';
import { S2DS_TOKENS } from './tokens.js';

/** Proxies that start at a time. More would slow each of them down, so that they miss their deadlines. */
const CONCURRENT_STARTS = 8;
/** Streams that are recovered at a time. */
const CONCURRENT_RECOVERIES = 32;

/** A gateway on the machine of this process. Owns its ports, its runtimes and the data servers (S2DS) in them. */
@injectable()
export class LocalGateway implements Gateway {
  readonly name: string;
  readonly #handles = new Map<string, StreamHandle>();
  readonly #ports: RangePortAllocator;
  readonly #plugins: GatewayPlugins;
  readonly #closing = new AbortController();
  #opened: GatewayParts | undefined;

  constructor(
    @inject(S2DS_TOKENS.Settings) private readonly settings: GatewaySettings,
    @inject(Providers) private readonly providers: Providers,
    @inject(S2DS_TOKENS.Logger) private readonly log: Logger,
    /** Directory of this gateway's state, 0700. */
    @inject(S2DS_TOKENS.State) private readonly state: string,
  ) {
    this.name = settings.name;
    const onRestart = (uid: string, reason: string): void => void this.#handles.get(uid)?.noteRestart(reason);
    this.#plugins = new GatewayPlugins(settings.name, providers, log, state, () => this.#parts.store, onRestart);
    this.#ports = new RangePortAllocator(settings.ports, settings.portRest, (ports, since) =>
      log.warn({ ports, since }, 'no other port is free; reusing ports of streams that ended recently'),
    );
  }

  async open(): Promise<void> {
    const store = await GatewayStore.open(join(this.state, 'gateway'));
    this.#opened = {
      settings: this.settings,
      providers: this.providers,
      plugins: this.#plugins,
      ports: this.#ports,
      store,
      starts: pLimit(CONCURRENT_STARTS),
      probeSockets: probeSockets(),
      closing: this.#closing.signal,
      log: this.log,
    };
    // Leases all ports before the first await, so that no other stream gets one of them.
    const left = store.entries().map(([uid, { spec, listeners, node }]) => {
      const { transport } = spec;
      const ports = this.#ports.adopt({ uid, transport, addresses: listeners, remote: node !== undefined });
      return { handle: this.#handle(uid), ports };
    });
    this.#ports.rest(store.restingPorts);
    await this.#plugins.sweep();
    const recoveries = pLimit(CONCURRENT_RECOVERIES);
    await Promise.all(left.map(({ handle, ports }) => recoveries(() => handle.recover(ports))));
    await this.#plugins.prepare(this.settings.proxy, this.settings.runtime);
  }

  /** Number of streams with a record. */
  get streams(): number {
    return this.#opened?.store.entries().length ?? 0;
  }

  /** Checks that a reservation could be stored. @throws SCI_STATE_WRITE */
  check(): Promise<void> {
    return this.#parts.store.check();
  }

  async keep(uids: readonly string[]): Promise<void> {
    const strays = this.#parts.store.entries().filter(([uid]) => !uids.includes(uid));
    for (const [uid] of strays) {
      this.log.warn({ uid }, 'releasing a stream unknown to the control server');
      await this.release(uid).catch((error: unknown) => {
        this.log.error({ uid, error: messageOf(error) }, 'unknown stream not released; retrying');
      });
    }
  }

  async describe(): Promise<GatewayDescription> {
    const { ports, name, wan, lan, advertise, advertiseSources, proxy, runtime } = this.settings;
    const range = `${ports.first}-${ports.last}`;
    const addresses = { wan, lan, advertise, advertiseSources, addresses: machineAddresses() };
    const unreleased = [...this.#handles.values()].flatMap((handle) => handle.unreleased ?? []);
    return {
      name,
      ...addresses,
      proxy,
      runtime,
      ports: range,
      portsInUse: this.#ports.taken,
      ...(unreleased.length > 0 && {
        unreleased: { streams: unreleased.length, reason: toSciStreamError(unreleased[0]) },
      }),
    };
  }

  reserve(uid: string, spec: StreamSpec, tls?: StreamTls): Promise<Reservation> {
    return this.#handle(uid).reserve({ spec, ...(tls && { tls }) });
  }

  async start(uid: string, signal: AbortSignal): Promise<void> {
    await this.#known(uid).start(signal);
  }

  async updateTargets(uid: string, targets: readonly Target[], signal: AbortSignal): Promise<void> {
    await this.#known(uid).updateTargets(targets, signal);
  }

  async status(uid: string): Promise<S2DSStatus> {
    return await this.#known(uid).status();
  }

  /**
   * Ends the stream, also one whose runtime is no longer configured. A stream whose runtime does not answer ends when the
   * runtime answers again.
   * @throws SCI_RUNTIME_UNREACHABLE then; the call may be repeated
   */
  release(uid: string, keepPortsUntil?: string): Promise<readonly ListenerStatistics[]> {
    return this.#handle(uid).release(keepPortsUntil);
  }

  async freePorts(uid: string): Promise<void> {
    await this.#parts.store.putPorts(this.#ports.free(uid));
  }

  async handover(uid: string): Promise<StreamTls | undefined> {
    return this.#stream(uid).record.tls;
  }

  /** @param signal Aborts when the caller no longer waits; the call then rejects. */
  async ended(uid: string, signal?: AbortSignal): Promise<S2DSException | undefined> {
    await this.#handles.get(uid)?.recovered();
    return await this.#stream(uid).ended(signal);
  }

  /** @param signal As for `ended`. */
  async restarted(uid: string, seen: number, signal?: AbortSignal): Promise<Restarts | undefined> {
    await this.#handles.get(uid)?.recovered();
    const handle = this.#handles.get(uid);
    return handle?.isReserved ? await handle.stream.restarted(seen, signal) : undefined;
  }

  async openProbe(uid: string, tls = false): Promise<ProbeOffer> {
    const { probes, record } = this.#stream(uid);
    return await probes.open(tls ? record.tls : undefined);
  }

  async runProbe(uid: string, address: Address, challenge: string): Promise<number> {
    const { probeRuns, record } = this.#stream(uid);
    return await probeRuns.run((dial) => probeTarget(uid, record, address, challenge, dial));
  }

  async probeTargets(uid: string, answer: ProbeAnswer, address?: Address): Promise<readonly ConnectResult[]> {
    const { probeRuns, record } = this.#stream(uid);
    const { targets, tls, localAddress } = record;
    if (address) mustBeTarget(uid, targets, address);
    const hosts = address ? [address] : targets;
    if (tls) return await probeRuns.run((dial) => probeListeners(hosts, tls, answer, localAddress, dial));
    throw new S2DSException('SCI_PROXY_UNSUPPORTED', `Stream ${uid} is not encrypted.`);
  }

  async connectTargets(uid: string): Promise<readonly ConnectResult[]> {
    const { probeRuns, record } = this.#stream(uid);
    return await probeRuns.run((dial) => tryTargets(record, dial));
  }

  async connectListener(uid: string, holdMs: number, signal: AbortSignal): Promise<readonly ConnectResult[]> {
    const { probeRuns, listeners } = this.#stream(uid);
    return await probeRuns.run((dial) => tryListener(listeners, holdMs, signal, dial));
  }

  /** Releases every stream. @throws the first error, after all releases were tried */
  async releaseAll(): Promise<void> {
    const reserved = [...this.#handles.values()].filter((handle) => handle.isReserved);
    const releases = await Promise.allSettled(reserved.map((handle) => handle.release()));
    const failed = releases.find((release) => release.status === 'rejected');
    if (failed) throw failed.reason;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    try {
      await Promise.all([...this.#handles.values()].map((handle) => handle.close()));
      await this.#plugins.close();
    } finally {
      await this.#opened?.store.close();
    }
  }

  get #parts(): GatewayParts {
    if (this.#opened) return this.#opened;
    throw new S2DSException('SCI_BUG', `Gateway ${this.name} is used before it is open.`);
  }

  /** The handle of a uid, also of one that has no stream yet. */
  #handle(uid: string): StreamHandle {
    const known = this.#handles.get(uid);
    if (known) return known;
    const handle = new StreamHandle(uid, this.#parts, () => {
      if (this.#handles.get(uid) === handle) this.#handles.delete(uid);
    });
    this.#handles.set(uid, handle);
    return handle;
  }

  /** @throws SCI_STREAM_NOT_FOUND */
  #known(uid: string): StreamHandle {
    const handle = this.#handles.get(uid);
    if (handle) return handle;
    throw unknownStream(this.name, uid);
  }

  /** @throws as `StreamHandle.stream` */
  #stream(uid: string): Stream {
    return this.#known(uid).stream;
  }
}
