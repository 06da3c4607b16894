/** How a gateway recovers the streams of an earlier process, and what it does until it can. In memory. */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LABELS, S2DSException, type Address } from '@scistream/core';
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

s('the next process gives the ports of an ended stream to no other stream while others are free', () =>
  withSite(async (site) => {
    const first = await site.open();
    const [ended, crashed] = [randomUUID(), randomUUID()];
    const known = (await Promise.all([ended, crashed].map((uid) => first.reserve(uid, SPEC)))).flatMap(
      ({ listeners }) => listeners.map(({ port }) => port),
    );
    await first.release(ended);
    await first.close();
    await site.change(crashed, { state: 'releasing' });

    const next = await site.open();
    assert.is(await portsOf(next), 0);
    const { listeners } = await next.reserve(randomUUID(), { ...SPEC, connections: 4 });
    assert.equal(
      listeners.filter(({ port }) => known.includes(port)),
      [],
    );
    const again = await next.reserve(randomUUID(), { ...SPEC, connections: 4 });
    assert.equal(again.listeners.map(({ port }) => port).toSorted(), known.toSorted());
    await next.close();
  }),
);

s('a failed stream keeps its ports, also in the next process, until they are freed or its uid is taken again', () =>
  withSite(async (site) => {
    const first = await site.open();
    const [a, b] = [randomUUID(), randomUUID()];
    const until = new Date(Date.now() + 60_000).toISOString();
    for (const uid of [a, b]) {
      await first.reserve(uid, SPEC);
      await first.release(uid, until);
    }
    await first.close();

    const next = await site.open();
    assert.is(await portsOf(next), 4);
    await expectCode('SCI_PORTS_EXHAUSTED', next.reserve(randomUUID(), { ...SPEC, connections: 5 }));
    await next.release(a);
    assert.is(await portsOf(next), 4, 'a repeated release is not one of the owner');
    await next.freePorts(a);
    assert.is(await portsOf(next), 2);
    await next.reserve(b, SPEC);
    assert.is(await portsOf(next), 2);
    await next.freePorts(b);
    assert.is(await portsOf(next), 2, 'only ports of a failed stream');
    await next.close();
    await (await site.open()).close();
  }),
);

s('an instance that a failed start left behind is removed with its stream, as soon as that is possible', () =>
  withSite(async (site) => {
    const gateway = await site.open();
    const uid = randomUUID();
    await gateway.reserve(uid, SPEC);
    site.runtime.started = async () => {
      site.runtime.stuck = (await site.runtime.list({}))[0]?.name ?? '';
      throw new S2DSException('SCI_RUNTIME_FAILED', 'Too many open files.');
    };
    await expectCode('SCI_RUNTIME_FAILED', gateway.start(uid, new AbortController().signal));
    await expectCode('SCI_RUNTIME_FAILED', gateway.release(uid));
    assert.is(await portsOf(gateway), 2, 'it may still run');
    site.runtime.stuck = '';
    await gateway.release(uid);
    assert.equal([await site.runtime.list({}), await portsOf(gateway)], [[], 0]);
    await gateway.close();
  }),
);

s('what cannot be written is SCI_STATE_WRITE with the path, and leaves nothing behind', () =>
  withSite(async (site) => {
    const gateway = await site.open();
    const credentials = join(site.state, 'gateway', 'credentials');
    await rm(credentials, { recursive: true });
    await writeFile(credentials, '');
    const tls = { certificate: 'C', key: 'K', ca: 'A', peer: 'p' };
    const uid = randomUUID();
    const { message, suggestions } = await expectCode(
      'SCI_STATE_WRITE',
      gateway.reserve(uid, { ...SPEC, encryption: 'tls' }, tls),
    );
    assert.ok(message.includes(join(credentials, `${uid}.json`)));
    assert.is(suggestions.length, 1);
    assert.is(await portsOf(gateway), 0);
    await rm(credentials);
    await mkdir(credentials);
    await gateway.reserve(uid, { ...SPEC, encryption: 'tls' }, tls);
    assert.equal(await readdir(credentials), [`${uid}.json`]);
    await gateway.release(uid);
    assert.equal(await readdir(credentials), []);
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
  'a stream whose runtime is no longer configured can be released; its instances are removed if the runtime returns',
  () =>
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
      await next.reserve(randomUUID(), SPEC);
      assert.equal(await site.runtime.list({}), []);
      await next.close();
    }),
);

/** Another program on the first port of a stream. */
async function occupy({ host, port }: Address): Promise<Server> {
  const server = createServer().listen({ host, port, exclusive: true });
  await once(server, 'listening');
  return server;
}

s('a stream whose port another program has taken is restarting, with the reason, until the port is free', () =>
  withSite(async (site) => {
    const first = await site.open();
    const uid = randomUUID();
    const { listeners } = await first.reserve(uid, SPEC);
    await first.start(uid, new AbortController().signal);
    await first.close();
    for (const instance of await site.runtime.list({})) site.runtime.kill(instance);
    const [taken] = listeners;
    assert.ok(taken);
    const other = await occupy(taken);

    const gateway = await site.open();
    const { state, error } = await gateway.status(uid);
    assert.equal([state, error?.code], ['restarting', 'SCI_PORT_TAKEN']);
    await gateway.updateTargets(uid, [TARGET], new AbortController().signal);
    const restarted = gateway.restarted(uid, 0);
    other.close();
    assert.is((await restarted)?.count, 1);
    await eventually(async () => assert.is((await gateway.status(uid)).state, 'running'));
    await gateway.close();
    const kept = await site.kept(uid);
    assert.equal([kept?.targets, kept?.inForce], [[TARGET], true], 'the targets are set when it runs');
  }),
);

s(
  'a proxy that ends while another program has its port is restarted when the port is free, however often it fails',
  () =>
    withSite(async (site) => {
      const gateway = await site.open();
      const uid = randomUUID();
      const { listeners } = await gateway.reserve(uid, SPEC);
      await gateway.start(uid, new AbortController().signal);
      const [taken] = listeners;
      assert.ok(taken);
      const other = await occupy(taken);
      const restarted = gateway.restarted(uid, 0);
      for (const instance of await site.runtime.list({})) site.runtime.kill(instance);
      await eventually(async () => {
        const { state, error } = await gateway.status(uid);
        assert.equal([state, error?.code], ['restarting', 'SCI_PORT_TAKEN']);
      });
      other.close();
      assert.is((await restarted)?.count, 1);
      assert.is((await gateway.status(uid)).state, 'running');
      await gateway.close();
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
