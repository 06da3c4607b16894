/** What a gateway does for streams that an earlier process has left and that nobody can take charge of. In memory. */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import {
  formatAddress,
  ProxyContainer,
  proxyProvider,
  runtimeProvider,
  S2DSException,
  silentLogger,
  type AnyProvider,
  type ProxyDescription,
  type StreamView,
} from '@scistream/core';
import { EmbeddedDataServer, Providers } from '@scistream/core/server';
import { eventually, expectCode, FakeRuntime, temporaryDirectory } from '@scistream/core/testing';

const s = suite('embedded data server');

const RANGE = { first: 21_100, last: 21_107 };
const HOST = `127.78.${(process.pid >> 8) & 255}.${process.pid & 255}`;
const options = z.strictObject({});

class Tiny extends ProxyContainer {
  readonly supports = { tcp: true, udp: false, tls: false, rateLimit: false, liveRetarget: true, statistics: false };

  protected override describe({ targets }: StreamView): ProxyDescription {
    const text = targets.map(formatAddress).join();
    return { image: 'tiny:1', executable: 'tiny', args: [], config: 'tiny.cfg', files: { 'tiny.cfg': text } };
  }

  protected override ready(): Promise<boolean> {
    return Promise.resolve(true);
  }
}

/** A runtime that may be away. */
class Shaky extends FakeRuntime {
  away = false;

  override ping(): Promise<void> {
    return this.away ? Promise.reject(new S2DSException('SCI_RUNTIME_UNREACHABLE', 'It is away.')) : super.ping();
  }
}

/** Gateways one after another, over one state directory and one runtime. */
class Site {
  readonly runtime = new Shaky({ programs: { tiny: () => undefined } });
  /** What comes with the gateway besides the runtime that it uses by default. */
  extras: AnyProvider[] = [runtimeProvider({ id: 'shaky', options, create: () => this.runtime })];

  constructor(private readonly state: string) {}

  async open(): Promise<EmbeddedDataServer> {
    const tiny = proxyProvider({ id: 'tiny', options, create: (context) => new Tiny(context, 'tiny') });
    const steady = runtimeProvider({ id: 'steady', options, create: () => new FakeRuntime() });
    const builtIns = [tiny, steady, ...this.extras].map((provider) => ({ provider, summary: '' }));
    const none = { proxies: {}, runtimes: {}, plugins: [] };
    const providers = new Providers({ builtIns, plugins: [], config: none });
    const settings = { name: 'g', wan: HOST, lan: HOST, ports: RANGE, proxy: 'tiny', runtime: 'steady' };
    const gateway = new EmbeddedDataServer(settings, providers, silentLogger, this.state);
    await gateway.open();
    return gateway;
  }

  /** A stream that runs, and a gateway after the one that started it. @param between What happens meanwhile. */
  async inherit(between: () => void): Promise<{ uid: string; gateway: EmbeddedDataServer }> {
    const first = await this.open();
    const uid = randomUUID();
    await first.reserve(request(uid));
    await first.start(uid, new AbortController().signal);
    await first.close();
    between();
    return { uid, gateway: await this.open() };
  }
}

const request = (uid: string) =>
  ({ uid, role: 'PROD', transport: 'tcp', count: 2, proxy: 'tiny', runtime: 'shaky', bitsPerSecond: 0 }) as const;

const portsOf = async (gateway: EmbeddedDataServer): Promise<number> => (await gateway.describe()).portsInUse;

async function withSite(work: (site: Site) => Promise<void>): Promise<void> {
  const state = await temporaryDirectory();
  try {
    await work(new Site(state.path));
  } finally {
    await state.remove();
  }
}

s('a release that comes during the reservation leaves nothing of it', () =>
  withSite(async (site) => {
    const gateway = await site.open();
    const uid = randomUUID();
    await Promise.all([gateway.reserve(request(uid)), gateway.release(uid)]);
    assert.is(await portsOf(gateway), 0);
    await gateway.close();
  }),
);

s('a stream whose runtime does not answer is taken charge of when it does', () =>
  withSite(async (site) => {
    const { uid, gateway } = await site.inherit(() => (site.runtime.away = true));
    await expectCode('SCI_RUNTIME_UNREACHABLE', gateway.status(uid));
    site.runtime.away = false;
    await eventually(async () => assert.is((await gateway.status(uid)).state, 'running'), 20_000);
    await gateway.release(uid);
    assert.equal(await site.runtime.list({}), []);
    await gateway.close();
  }),
);

s('one that was released while its runtime did not answer ends when it does, also in another process', () =>
  withSite(async (site) => {
    const { uid, gateway } = await site.inherit(() => (site.runtime.away = true));
    await expectCode('SCI_RUNTIME_UNREACHABLE', gateway.release(uid));
    await expectCode('SCI_RUNTIME_UNREACHABLE', gateway.release(uid));
    await gateway.close();

    const next = await site.open();
    assert.is(await portsOf(next), 2, 'it may still run');
    site.runtime.away = false;
    await eventually(async () => assert.is(await portsOf(next), 0), 20_000);
    assert.equal(await site.runtime.list({}), []);
    assert.equal(await next.release(uid), []);
    await next.close();
  }),
);

s('one whose runtime is not known any more can be released, and is cleared away should it come back', () =>
  withSite(async (site) => {
    const { extras } = site;
    const { uid, gateway } = await site.inherit(() => (site.extras = []));
    await expectCode('SCI_RUNTIME_UNREACHABLE', gateway.status(uid));
    assert.equal(await gateway.release(uid), []);
    assert.is(await portsOf(gateway), 0);
    await gateway.close();

    assert.is((await site.runtime.list({})).length, 1);
    site.extras = extras;
    const next = await site.open();
    await next.reserve(request(randomUUID()));
    assert.equal(await site.runtime.list({}), []);
    await next.close();
  }),
);

s('the end of the process is not the end of a stream that nobody has charge of', () =>
  withSite(async (site) => {
    const { uid, gateway } = await site.inherit(() => (site.runtime.away = true));
    const told = gateway.ended(uid).then(
      () => 'that the stream has ended',
      () => 'that the stream has failed',
    );
    const closed = gateway.close().then(() => 'nothing');
    assert.is(await Promise.race([told, closed]), 'nothing');
  }),
);

s.run();
