/** What a gateway does with a plugin whose methods fail or never settle. */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { S2DS } from '@scistream/core';
import { eventually, expectCode } from '@scistream/core/testing';
import { portsOf, SPEC, withSite, type Site } from '../support/gateway-site.js';
import { gate, oddPlugin, quietProxy } from '../support/plugin-package.js';

const s = suite('odd plugin');

const ODD = { ...SPEC, proxy: 'odd', runtime: '' };
const forever = (): Promise<never> => new Promise(() => undefined);
const never = (): AbortSignal => new AbortController().signal;

const withOdd = (odd: Partial<S2DS>, work: (site: Site) => Promise<void>): Promise<void> =>
  withSite(async (site) => {
    site.plugins = await oddPlugin(site.state, () => quietProxy(odd));
    await work(site);
  });

s('the record says which plugin a stream has, and where it runs', () =>
  withOdd({}, async (site) => {
    const gateway = await site.open();
    const uid = randomUUID();
    await gateway.reserve(uid, ODD);
    await gateway.close();
    const { plugins, place } = (await site.kept(uid)) ?? {};
    assert.equal([plugins, place], [[{ name: 'odd-plugin', version: '1.2.3' }], 'host']);
  }),
);

s('a status that never settles does not prevent a release', () =>
  withOdd({ status: forever }, async (site) => {
    const gateway = await site.open();
    const uid = randomUUID();
    await gateway.reserve(uid, ODD);
    await gateway.start(uid, never());
    assert.equal([await gateway.release(uid), await portsOf(gateway)], [[], 0]);
    await gateway.close();
  }),
);

s('a start that ignores its release keeps the ports of the stream until it returns', () => {
  const { passed, open } = gate();
  const forwarding = new Set<string>();
  const odd: Partial<S2DS> = {
    start: async ({ uid }) => {
      await passed;
      forwarding.add(uid);
    },
    release: (uid) => Promise.resolve(void forwarding.delete(uid)),
  };
  return withOdd(odd, async (site) => {
    const gateway = await site.open();
    const uid = randomUUID();
    await gateway.reserve(uid, ODD);
    const started = expectCode('SCI_STREAM_RELEASED', gateway.start(uid, never()));
    const released = gateway.release(uid);
    await started;
    assert.is(await portsOf(gateway), 2);
    open();
    await released;
    assert.equal([[...forwarding], await portsOf(gateway)], [[], 0]);
    await gateway.close();
  });
});

s('a plugin that fails in each method is named, and its stream ends when it works', () => {
  let works = false;
  const fail = (): Promise<never> => Promise.reject(new TypeError('undefined is not a function'));
  const odd: Partial<S2DS> = { start: fail, status: fail, release: () => (works ? Promise.resolve() : fail()) };
  return withOdd(odd, async (site) => {
    const gateway = await site.open();
    const uid = randomUUID();
    await gateway.reserve(uid, ODD);
    const calls = [() => gateway.start(uid, never()), () => gateway.status(uid), () => gateway.release(uid)];
    for (const call of calls) assert.match((await expectCode('SCI_PLUGIN_FAILED', call())).message, 'odd-plugin');
    assert.is((await gateway.describe()).unreleased?.reason.code, 'SCI_PLUGIN_FAILED');
    assert.is(await portsOf(gateway), 2);
    works = true;
    await eventually(async () => assert.is(await portsOf(gateway), 0));
    await gateway.close();
  });
});

s('a plugin that creates no proxy fails the calls that use it, and no others', () =>
  withOdd({}, async (site) => {
    site.plugins = await oddPlugin(site.state, () => ({}) as S2DS);
    const gateway = await site.open();
    await expectCode('SCI_PLUGIN_FAILED', gateway.reserve(randomUUID(), ODD));
    await gateway.reserve(randomUUID(), SPEC);
    await gateway.close();
  }),
);

s.run();
