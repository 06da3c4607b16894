/** What a gateway does with ports of ended streams, faults of its host, and ports that other programs took. In memory. */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { S2DSException, type Address } from '@scistream/core';
import { eventually, expectCode } from '@scistream/core/testing';
import { portsOf, SPEC, TARGET, withSite } from '../support/gateway-site.js';

const s = suite('gateway faults');

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

s.run();
