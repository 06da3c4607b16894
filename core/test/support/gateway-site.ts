/** Gateways in memory with a runtime that may be unreachable or slow. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import {
  formatAddress,
  ProxyContainer,
  proxyProvider,
  runtimeProvider,
  S2DSException,
  silentLogger,
  type ContainerRef,
  type ContainerSpec,
  type PluginContext,
  type ProxyDescription,
  type ProxyInstance,
  type ProxyView,
} from '@scistream/core';
import {
  LocalGateway,
  GatewayStore,
  Providers,
  type FoundPlugin,
  type GatewayStream,
  type AnyProvider,
  type StreamSpec,
} from '@scistream/core/internal';
import { FakeRuntime, temporaryDirectory, testSpec } from '@scistream/core/testing';

const RANGE = { first: 21_100, last: 21_107 };
/** An address of this process, or that of the process that started it. */
export const HOST = process.env['SITE_HOST'] ?? `127.78.${(process.pid >> 8) & 255}.${process.pid & 255}`;
export const TARGET = { host: '192.0.2.1', port: 9 };
const options = z.strictObject({});

class Tiny extends ProxyContainer {
  readonly supports = { tcp: true, udp: false, tls: true, rateLimit: false, liveRetarget: true, statistics: false };

  protected override describe({ targets }: ProxyView): ProxyDescription {
    const text = targets.map(formatAddress).join();
    return { image: 'tiny:1', executable: 'tiny', args: [], config: 'tiny.cfg', files: { 'tiny.cfg': text } };
  }

  protected override ready(): Promise<boolean> {
    return Promise.resolve(true);
  }

  protected override async retarget({ view }: ProxyInstance): Promise<boolean> {
    const port = view.targets[0]?.port ?? 0;
    await this.site.beforeRetarget(port);
    this.site.retargeted.push(port);
    return true;
  }

  constructor(
    context: PluginContext,
    private readonly site: Site,
  ) {
    super(context, 'tiny');
  }
}

/** A runtime that may be unreachable. */
class FaultyRuntime extends FakeRuntime {
  away = false;
  /** Makes the runtime answer again after the next call that fails because it is away. */
  returns = false;
  /** Called after an instance was started. */
  started: () => Promise<void> = () => Promise.resolve();

  override async start(ref: ContainerRef, spec: ContainerSpec): Promise<void> {
    await super.start(ref, spec);
    await this.started();
  }

  /** Name of the instance that cannot be removed. */
  stuck = '';

  override remove(ref: ContainerRef): Promise<void> {
    if (ref.name !== this.stuck) return super.remove(ref);
    return Promise.reject(new S2DSException('SCI_RUNTIME_FAILED', `Cannot remove ${ref.name}: resource busy.`));
  }

  override ping(): Promise<void> {
    if (!this.away) return super.ping();
    if (this.returns) this.away = false;
    return Promise.reject(new S2DSException('SCI_RUNTIME_UNREACHABLE', 'The runtime is unreachable.'));
  }
}

/** Successive gateways with one state directory and one runtime. */
export class Site {
  readonly runtime = new FaultyRuntime({ programs: { tiny: () => undefined } });
  /** Providers of the gateway besides the default ones. */
  extras: AnyProvider[] = [runtimeProvider({ id: 'shaky', options, create: () => this.runtime })];

  /** Plugins of the gateway. */
  plugins: readonly FoundPlugin[] = [];

  /** Proxies that run on the host. */
  hosts: AnyProvider[] = [];

  /** Called before a proxy receives its targets, with the port of the first. */
  beforeRetarget: (port: number) => Promise<void> = () => Promise.resolve();
  /** Ports of the first targets that the proxy received. */
  readonly retargeted: number[] = [];

  constructor(readonly state: string) {}

  /** Changes a stored stream, as an earlier process may have left it. */
  async change(uid: string, change: Partial<GatewayStream>): Promise<void> {
    const store = await GatewayStore.open(join(this.state, 'gateway'));
    const kept = store.get(uid);
    assert.ok(kept);
    await store.put(uid, { ...kept, ...change });
    await store.close();
  }

  /** Deletes a stored stream, as if the disk had lost it. */
  async forget(uid: string): Promise<void> {
    const store = await GatewayStore.open(join(this.state, 'gateway'));
    await store.delete(uid);
    await store.close();
  }

  /** The stored stream. */
  async kept(uid: string): Promise<GatewayStream | undefined> {
    const store = await GatewayStore.open(join(this.state, 'gateway'));
    const kept = store.get(uid);
    await store.close();
    return kept;
  }

  /** @param runtime Default of the gateway. @param proxy Default of the gateway. */
  async open(runtime = 'steady', proxy = 'tiny'): Promise<LocalGateway> {
    const tiny = proxyProvider({ id: 'tiny', options, create: (context) => new Tiny(context, this) });
    const runtimes = ['steady', 'process'].map((id) =>
      runtimeProvider({ id, options, create: () => new FakeRuntime() }),
    );
    const others = [tiny, ...runtimes, ...this.extras].map((provider) => ({ provider, summary: '' }));
    const builtIns = [...others, ...this.hosts.map((provider) => ({ provider, summary: '', runsIn: 'host' as const }))];
    const none = { proxies: {}, runtimes: {}, plugins: [] };
    const providers = new Providers({ builtIns, plugins: this.plugins, config: none });
    const settings = { name: 'g', wan: HOST, lan: HOST, ports: RANGE, proxy, runtime };
    const gateway = new LocalGateway(settings, providers, silentLogger, this.state);
    await gateway.open().catch(async (error: unknown) => {
      await gateway.close();
      throw error;
    });
    return gateway;
  }

  /**
   * A running stream, and the gateway after the one that started it. @param between Called between the two gateways.
   */
  async inherit(between: () => void): Promise<{ uid: string; gateway: LocalGateway }> {
    const first = await this.open();
    const uid = randomUUID();
    await first.reserve(uid, SPEC);
    await first.start(uid, new AbortController().signal);
    await first.close();
    between();
    return { uid, gateway: await this.open() };
  }
}

export const SPEC: StreamSpec = { ...testSpec, connections: 2, proxy: 'tiny', runtime: 'shaky' };

export const portsOf = async (gateway: LocalGateway): Promise<number> => (await gateway.describe()).portsInUse;

export async function withSite(work: (site: Site) => Promise<void>): Promise<void> {
  const state = await temporaryDirectory();
  try {
    await work(new Site(state.path));
  } finally {
    await state.remove();
  }
}
