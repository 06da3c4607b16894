// needs: docker, root
// suite: full
import { randomUUID } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Address, S2DSRequest } from '@scistream/core';
import { RangePortAllocator } from '@scistream/core/internal';
import {
  dial,
  echo,
  eventually,
  exchange,
  named,
  read,
  receiveAll,
  sendRandom,
  tcpServer,
  testContext,
  testSpec,
  type TestContext,
} from '@scistream/core/testing';
import { HaproxyContainer, HaproxyOptions } from '@scistream/plugin-haproxy';
import type { JanusRuntime } from '@scistream/plugin-janus';
import { withSite, type JanusSite } from './support.js';

const MIB = 1024 * 1024;
/** Below the range of ephemeral ports; each process has its own block. */
const FIRST_PORT = 10_000 + (process.pid % 200) * 100;

const s = suite('proxies that Janus placed');
const test = withSite(s, s);

const ports = new RangePortAllocator({ first: FIRST_PORT, last: FIRST_PORT + 99 });

const contextOf = (site: JanusSite, runtime: JanusRuntime): TestContext =>
  testContext({ runtime, dataDir: site.directory.path });

const haproxy = (site: JanusSite, runtime: JanusRuntime, context = contextOf(site, runtime)): HaproxyContainer =>
  new HaproxyContainer(context, HaproxyOptions.parse({ image: site.engine.image }));

/** A stream on a node that the runtime chose. */
async function request(runtime: JanusRuntime): Promise<{ stream: S2DSRequest; address: Address }> {
  const uid = randomUUID();
  const { node, wan } = await runtime.place(uid);
  const listeners = await ports.allocate({ uid, host: wan, transport: 'tcp', count: 1, remote: true });
  const address = listeners[0]?.address ?? { host: wan, port: 0 };
  return { stream: { uid, spec: testSpec, listeners, node }, address };
}

test('bytes flow both ways unchanged, also while Janus does not answer', async (site) => {
  await using target = await tcpServer(echo);
  const runtime = site.runtime({ timeout: 2_000 });
  const s2ds = haproxy(site, runtime);
  const { stream, address } = await request(runtime);
  await s2ds.start(stream);
  await s2ds.updateTargets(stream.uid, [target.address]);
  const heal = site.emulator.fault({ on: /./, what: 'silence' });
  const socket = await dial(address);
  const [sent, received] = await Promise.all([sendRandom(socket, 64 * MIB), receiveAll(socket)]);
  assert.equal(received, sent);
  heal();
  assert.is((await s2ds.status(stream.uid)).state, 'running');
  assert.is((await s2ds.status(stream.uid)).restarts, 0);
  await s2ds.release(stream.uid);
});

test('new targets do not affect connections, and streams on two nodes are independent', async (site) => {
  await using a = await tcpServer(named('a'));
  await using b = await tcpServer(named('b'));
  const runtime = site.runtime();
  const s2ds = haproxy(site, runtime);
  const first = await request(runtime);
  const second = await request(runtime);
  assert.equal([first.stream.node, second.stream.node].sort(), ['n1', 'n2']);
  await Promise.all([s2ds.start(first.stream), s2ds.start(second.stream)]);
  for (const { stream } of [first, second]) await s2ds.updateTargets(stream.uid, [a.address]);
  const old = await dial(first.address);
  assert.is(await read(old, 1), 'a');
  await s2ds.updateTargets(first.stream.uid, [b.address]);
  assert.is(await exchange(first.address, '1'), 'b1');
  assert.is(await exchange(second.address, '2'), 'a2');
  old.write('still');
  assert.is(await read(old, 5), 'still');
  old.destroy();
  await s2ds.release(first.stream.uid);
  assert.is(await exchange(second.address, '3'), 'a3');
  await s2ds.release(second.stream.uid);
});

test('a proxy whose container is killed is restarted with its targets', async (site) => {
  await using target = await tcpServer(named('a'));
  const runtime = site.runtime();
  const s2ds = haproxy(site, runtime);
  const { stream, address } = await request(runtime);
  await s2ds.start(stream);
  await s2ds.updateTargets(stream.uid, [target.address]);
  const [container = ''] = await site.emulator.backend.containers();
  await site.emulator.backend.kill(container);
  await eventually(async () => assert.is((await s2ds.status(stream.uid)).restarts, 1), 60_000);
  assert.is(await exchange(address, '1'), 'a1');
  await s2ds.release(stream.uid);
});

test('a new S2DS adopts a stream with its connections', async (site) => {
  await using a = await tcpServer(named('a'));
  await using b = await tcpServer(named('b'));
  const earlier = site.runtime();
  const { stream, address } = await request(earlier);
  const context = contextOf(site, earlier);
  const before = haproxy(site, earlier, context);
  await before.start(stream);
  await before.updateTargets(stream.uid, [a.address]);
  const old = await dial(address);
  assert.is(await read(old, 1), 'a');
  // The earlier one would restart the proxy that the new one stops.
  await context.close();
  await earlier.close();
  const s2ds = haproxy(site, site.runtime());
  assert.is(await s2ds.adopt(stream, [a.address]), true);
  await s2ds.updateTargets(stream.uid, [b.address]);
  assert.is(await exchange(address, '1'), 'b1');
  old.write('still');
  assert.is(await read(old, 5), 'still');
  old.destroy();
  await s2ds.release(stream.uid);
});

s.run();
