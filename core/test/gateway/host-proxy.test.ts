/** No port and no uid is given out while something of an earlier stream may forward, without a runtime that knows it. */
import 'reflect-metadata';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { eventually, expectCode, temporaryDirectory } from '@scistream/core/testing';
import { HOST, portsOf, SPEC, TARGET, withSite, type Site } from '../support/gateway-site.js';
import { HostSite } from '../support/host-proxy.js';

const s = suite('host proxy');

const HOSTED = { ...SPEC, proxy: 'host', runtime: '' };
const VICTIM = fileURLToPath(new URL('../support/release-victim.js', import.meta.url));
/** Ports of the gateway. */
const ALL = 8;

const forever = (): AbortSignal => new AbortController().signal;

async function withHost(work: (site: Site, host: HostSite) => Promise<void>): Promise<void> {
  await using rules = await temporaryDirectory();
  const host = new HostSite(rules.path);
  await withSite(async (site) => {
    site.hosts = [host.provider];
    try {
      await work(site, host);
    } finally {
      await host.clean();
    }
  });
}

/** A stream that forwards, and that a gateway which no longer runs has started. */
async function left(site: Site, spec = HOSTED): Promise<string> {
  const gateway = await site.open();
  const uid = randomUUID();
  await gateway.reserve(uid, spec);
  await gateway.start(uid, forever());
  await gateway.updateTargets(uid, [TARGET], forever());
  await gateway.close();
  return uid;
}

s('an interrupted release ends in the next process with what the record knows', () =>
  withHost(async (site, host) => {
    const uid = await left(site);
    await site.change(uid, { state: 'releasing' });
    const { listeners } = (await site.kept(uid)) ?? {};
    const next = await site.open();
    assert.equal([await host.forwarded(), await portsOf(next)], [[], 0]);
    assert.equal(host.released, [{ uid, ports: listeners?.map(({ port }) => port) }]);
    await next.close();
  }),
);

s('a stream whose plugin is missing stays in release with its ports and its uid until the plugin is back', () =>
  withHost(async (site, host) => {
    const uid = await left(site);
    const { hosts } = site;
    site.hosts = [];
    const without = await site.open();
    await expectCode('SCI_PROXY_UNKNOWN', without.release(uid));
    await expectCode('SCI_PROXY_UNKNOWN', without.release(uid));
    const { unreleased, portsInUse } = await without.describe();
    assert.equal([unreleased?.streams, unreleased?.reason.code, portsInUse], [1, 'SCI_PROXY_UNKNOWN', 2]);
    assert.match((await expectCode('SCI_PROXY_UNKNOWN', without.status(uid))).message, /still being released/);
    await expectCode('SCI_PROXY_UNKNOWN', without.reserve(uid, SPEC));
    await expectCode('SCI_PORTS_EXHAUSTED', without.reserve(randomUUID(), { ...SPEC, connections: ALL - 1 }));
    await without.close();
    assert.is((await site.kept(uid))?.state, 'releasing');
    assert.equal(await host.forwarded(), [uid]);

    site.hosts = hosts;
    const next = await site.open();
    assert.equal([await host.forwarded(), await portsOf(next)], [[], 0]);
    assert.is((await next.describe()).unreleased, undefined);
    await next.reserve(uid, { ...SPEC, connections: ALL });
    await next.close();
  }),
);

s('a stream whose rules cannot be removed keeps its ports and its uid, and its release is retried', () =>
  withHost(async (site, host) => {
    const gateway = await site.open();
    const uid = randomUUID();
    await gateway.reserve(uid, HOSTED);
    await gateway.start(uid, forever());
    host.isStuck = true;
    await expectCode('SCI_RUNTIME_FAILED', gateway.release(uid));
    await expectCode('SCI_RUNTIME_FAILED', gateway.status(uid));
    await expectCode('SCI_RUNTIME_FAILED', gateway.reserve(uid, HOSTED));
    assert.is(await portsOf(gateway), 2);
    host.isStuck = false;
    await eventually(async () => assert.is(await portsOf(gateway), 0));
    assert.equal(await host.forwarded(), []);
    await gateway.close();
  }),
);

s('what forwards without a record is removed before a port is given out, and nothing else', () =>
  withHost(async (site, host) => {
    const lost = await left(site);
    await site.forget(lost);
    const kept = await left(site);
    const relost = await left(site);
    await site.forget(relost);
    assert.equal(await host.forwarded(), [kept, relost].toSorted());
    const next = await site.open();
    assert.equal(await host.forwarded(), [kept]);
    assert.is((await next.status(kept)).state, 'running');
    await next.close();
  }),
);

s('a proxy that cannot remove its leftovers gets no stream until it can, and affects no other proxy', () =>
  withHost(async (site, host) => {
    const lost = await left(site);
    await site.forget(lost);
    host.isStuck = true;
    const gateway = await site.open();
    await gateway.reserve(randomUUID(), SPEC);
    await expectCode('SCI_RUNTIME_FAILED', gateway.reserve(randomUUID(), HOSTED));
    host.isStuck = false;
    await gateway.reserve(randomUUID(), HOSTED);
    assert.equal(await host.forwarded(), []);
    await gateway.close();
  }),
);

s('a request for a runtime is rejected', () =>
  withHost(async (site) => {
    const gateway = await site.open();
    await expectCode('SCI_PROXY_UNSUPPORTED', gateway.reserve(randomUUID(), { ...HOSTED, runtime: 'shaky' }));
    const { runtime } = await gateway.reserve(randomUUID(), { ...HOSTED, runtime: 'process' });
    assert.is(runtime, 'process');
    await gateway.close();
  }),
);

for (const step of [
  'before the record',
  'before the proxy',
  'before the credentials',
  'before the end',
  'after the end',
]) {
  s(`a gateway that is killed ${step} of a release leaves no port free that something forwards`, () =>
    withHost(async (site, host) => {
      const uid = randomUUID();
      const victim = spawn(process.execPath, [VICTIM, site.state, host.directory, uid, step], {
        stdio: 'inherit',
        env: { ...process.env, SITE_HOST: HOST },
      });
      assert.equal(await once(victim, 'exit'), [null, 'SIGKILL']);

      const next = await site.open();
      const forwarded = step === 'before the record' ? [uid] : [];
      assert.equal([await host.forwarded(), await portsOf(next)], [forwarded, forwarded.length]);
      await next.release(uid);
      assert.equal([await host.forwarded(), await portsOf(next)], [[], 0]);
      await next.reserve(uid, { ...SPEC, connections: ALL });
      await next.close();
    }),
  );
}

s.run();
