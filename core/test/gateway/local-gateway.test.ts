/** How a gateway recovers the streams of an earlier process, and what it does until it can. In memory. */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LABELS } from '@scistream/core';
import { eventually, expectCode } from '@scistream/core/testing';
import { portsOf, SPEC, TARGET, withSite } from '../support/gateway-site.js';

const s = suite('local gateway');

s('a release during the reservation leaves nothing of the stream', () =>
  withSite(async (site) => {
    const gateway = await site.open();
    const uid = randomUUID();
    await Promise.all([gateway.reserve(uid, SPEC), gateway.release(uid)]);
    assert.is(await portsOf(gateway), 0);
    await gateway.close();
  }),
);

s('a stream is recovered when its runtime answers again', () =>
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

s('a stream released while its runtime is down ends when the runtime answers, also in another process', () =>
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

s('a release that waits behind a failed one frees everything, and nothing is retried', () =>
  withSite(async (site) => {
    const { uid, gateway } = await site.inherit(() => (site.runtime.away = true));
    site.runtime.returns = true;
    const failed = expectCode('SCI_RUNTIME_UNREACHABLE', gateway.release(uid));
    assert.equal(await gateway.release(uid), []);
    await failed;
    assert.equal([await site.runtime.list({}), await portsOf(gateway)], [[], 0]);
    await gateway.reserve(uid, SPEC);
    await gateway.release(uid);
    await gateway.close();
  }),
);

s(
  'a stream whose runtime is no longer configured stays in release with its ports, and ends when the runtime returns',
  () =>
    withSite(async (site) => {
      const { extras } = site;
      const { uid, gateway } = await site.inherit(() => (site.extras = []));
      await expectCode('SCI_RUNTIME_UNREACHABLE', gateway.status(uid));
      await expectCode('SCI_RUNTIME_UNKNOWN', gateway.release(uid));
      await expectCode('SCI_RUNTIME_UNKNOWN', gateway.status(uid));
      assert.is(await portsOf(gateway), 2, 'it may still run');
      await gateway.close();

      assert.is((await site.runtime.list({})).length, 1);
      site.extras = extras;
      const next = await site.open();
      assert.equal([await site.runtime.list({}), await portsOf(next)], [[], 0]);
      await next.close();
    }),
);

s('a running stream with its targets set is adopted without a change', () =>
  withSite(async (site) => {
    const first = await site.open();
    const uid = randomUUID();
    await first.reserve(uid, SPEC);
    await first.start(uid, new AbortController().signal);
    await first.updateTargets(uid, [TARGET], new AbortController().signal);
    await first.close();
    site.runtime.calls.splice(0);

    const next = await site.open();
    assert.is((await next.status(uid)).state, 'running');
    assert.equal(site.runtime.calls, []);
    await next.close();
  }),
);

s('targets that an earlier process may not have set are set again', () =>
  withSite(async (site) => {
    const { uid, gateway } = await site.inherit(() => undefined);
    await gateway.close();
    await site.change(uid, { targets: [TARGET], inForce: false });
    site.runtime.calls.splice(0);
    await (await site.open()).close();
    assert.match(site.runtime.calls.join(), /put \S+ tiny\.cfg/);
    site.runtime.calls.splice(0);
    await (await site.open()).close();
    assert.equal(site.runtime.calls, [], 'once');
  }),
);

s('a restart is counted with its reason, also in the next process', () =>
  withSite(async (site) => {
    const { uid, gateway } = await site.inherit(() => undefined);
    const told = gateway.restarted(uid, 0);
    for (const instance of await site.runtime.list({})) site.runtime.kill(instance);
    const restarts = await told;
    assert.is(restarts?.count, 1);
    assert.match(restarts?.last[0]?.reason ?? '', /tiny exited unexpectedly \(signal SIGKILL\)/);
    await gateway.close();

    const next = await site.open();
    assert.equal(await next.restarted(uid, 0), restarts);
    assert.is((await next.status(uid)).restarts, 1);
    const ended = next.restarted(uid, 1);
    await next.release(uid);
    assert.is(await ended, undefined);
    await next.close();
  }),
);

s('a stream with lost or damaged credentials affects no other stream, and can be released or repaired', () =>
  withSite(async (site) => {
    const first = await site.open();
    const [lost, damaged, whole] = [randomUUID(), randomUUID(), randomUUID()];
    const tls = { certificate: 'C', key: 'K', ca: 'A', peer: 'p' };
    for (const uid of [lost, damaged, whole]) {
      await first.reserve(uid, { ...SPEC, encryption: 'tls' }, tls);
      await first.start(uid, new AbortController().signal);
    }
    await first.close();
    const file = (uid: string): string => join(site.state, 'gateway', 'credentials', `${uid}.json`);
    const before = await readFile(file(lost), 'utf8');
    await rm(file(lost));
    await writeFile(file(damaged), '{"key":"K-of-mine');

    const next = await site.open();
    assert.is((await next.status(whole)).state, 'running');
    for (const uid of [lost, damaged]) {
      await expectCode('SCI_STATE_DAMAGED', next.status(uid));
      assert.not.match(await next.status(uid).then(String, String), 'K-of-mine');
    }
    await next.release(damaged);
    assert.is((await site.runtime.list({})).length, 2);
    await writeFile(file(lost), before);
    await eventually(async () => assert.is((await next.status(lost)).state, 'running'), 60_000);
    await next.close();
    assert.ok((await site.kept(lost))?.tls);
  }),
);

s('a leftover instance that cannot be removed blocks no stream, and is removed later', () =>
  withSite(async (site) => {
    const { uid, gateway } = await site.inherit(() => undefined);
    const lost = randomUUID();
    await gateway.reserve(lost, SPEC);
    await gateway.start(lost, new AbortController().signal);
    await gateway.close();
    await site.forget(lost);
    const left = async (): Promise<readonly string[]> =>
      (await site.runtime.list({ [LABELS.uid]: lost })).map(({ name }) => name);
    site.runtime.stuck = (await left())[0] ?? '';

    const next = await site.open('shaky');
    assert.is((await next.status(uid)).state, 'running');
    assert.equal(await left(), [site.runtime.stuck]);
    const use = async (): Promise<void> => {
      const another = randomUUID();
      await next.reserve(another, SPEC);
      await next.release(another);
    };
    await use();
    site.runtime.stuck = '';
    await eventually(async () => {
      await use();
      assert.equal(await left(), []);
    });
    assert.is((await next.status(uid)).state, 'running');
    await next.close();
  }),
);

s('a gateway opens without its default runtime, but not with an unknown one', () =>
  withSite(async (site) => {
    site.runtime.away = true;
    const gateway = await site.open('shaky');
    await gateway.reserve(randomUUID(), { ...SPEC, runtime: 'steady' });
    await expectCode('SCI_RUNTIME_UNREACHABLE', gateway.reserve(randomUUID(), SPEC));
    site.runtime.away = false;
    await gateway.reserve(randomUUID(), SPEC);
    await gateway.close();
    await expectCode('SCI_RUNTIME_UNKNOWN', site.open('no-such-runtime'));
    await expectCode('SCI_PROXY_UNKNOWN', site.open('steady', 'no-such-proxy'));
  }),
);

s('closing the gateway does not end a stream that is not recovered', () =>
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
