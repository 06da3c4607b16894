/** Calls of the user client that wait, while a control server restarts or a load balancer closes idle connections. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import * as assert from 'uvu/assert';
import { formatAddress } from '@scistream/core';
import { resolveEndpoint, type StreamStatus } from '@scistream/core/client';
import { eventually, expectCode, temporaryDirectory } from '@scistream/core/testing';
import { NOTHING } from '../../support/leftovers.js';
import { freeRange } from '../../support/ports.js';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';
import { endpointOf, user } from '../../support/user.js';

const s = suite('waiting calls and lost connections');

/** A control server that a test restarts at the same address, with the same state. */
async function restartable() {
  const directory = await temporaryDirectory();
  const [{ first: port }, range] = [await freeRange(1), await freeRange(8)];
  const start = (): Promise<TestServer> =>
    TestServer.start({ state: directory.path, range, listen: { host: '127.0.0.1', port } });
  let server = await start();
  return {
    current: () => server,
    stop: async () => {
      await server.server.stop();
      server.peer.cut();
    },
    start: async () => void (server = await start()),
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      await directory.remove();
    },
  };
}

s('watch shows a side again after its control server has restarted', async () => {
  await using from = await TestServer.start();
  await using to = await restartable();
  await using caller = await user();
  const plan = { from: endpointOf(from), to: endpointOf(to.current()), producer: ['127.0.0.1:9'] };
  const handle = await caller.client.up(plan);
  const seen: StreamStatus[] = [];
  const stop = new AbortController();
  const watching = (async () => {
    for await (const status of handle.watch(stop.signal)) seen.push(status);
  })();
  const shows = (state: string): Promise<void> => eventually(async () => assert.is(seen.at(-1)?.to?.state, state));
  await shows('ready');
  await to.stop();
  await shows('unreachable');
  const lines = seen.length;
  await to.start();
  await shows('ready');
  assert.is(seen.slice(lines).filter(({ to: side }) => side?.state === 'unreachable').length, 0, 'told once');
  await handle.down();
  await watching;
  assert.is(seen.at(-1)?.state, 'released');
});

s('a request that waits for an application survives the restart of its control server', async () => {
  await using from = await TestServer.start();
  await using to = await restartable();
  await using caller = await user();
  const uid = 'waits-for-hello-1';
  const plan = { from: endpointOf(from), to: endpointOf(to.current()), producer: ['127.0.0.1:9'], uid };
  const made = caller.client.up({ ...plan, hello: 'controller', waitMs: 30_000 });
  const waits = async (): Promise<void> => assert.is(await to.current().stateOf(uid), 'waiting');
  await eventually(waits);
  await to.stop();
  await to.start();
  await eventually(waits);
  for (const { peer } of [from, to.current()]) await peer.control.hello({ uid, prodListeners: ['127.0.0.1:9'] });
  assert.is((await made).initial.state, 'ready');
  await (await made).down();
});

s('a request to which no application sends HELLO in time says so, and leaves nothing', async () => {
  await using from = await TestServer.start();
  await using to = await TestServer.start();
  await using caller = await user();
  const plan = { from: endpointOf(from), to: endpointOf(to), producer: ['127.0.0.1:9'] };
  await expectCode('SCI_HELLO_TIMEOUT', caller.client.up({ ...plan, hello: 'controller', waitMs: 1_000 }));
  for (const server of [from, to]) await eventually(async () => assert.equal(await server.leftovers(), NOTHING));
});

/** Forwards connections to a server, and closes those that are silent for `idleMs` in both directions. */
async function loadBalancer(target: { readonly host: string; readonly port: number }, idleMs: number) {
  const counts = { connections: 0, packets: 0 };
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    counts.connections += 1;
    const inner = connect(target);
    for (const [one, other] of [
      [client, inner],
      [inner, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined).once('close', () => other.destroy());
      one.on('data', () => (counts.packets += 1));
      one.setTimeout(idleMs, () => one.destroy());
      one.pipe(other);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const stop = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  };
  return { address: formatAddress({ host: '127.0.0.1', port }), counts, [Symbol.asyncDispose]: stop };
}

s('with short pings a waiting call keeps its connection through a short idle limit', async () => {
  await using from = await TestServer.start();
  const [host = '', port] = from.listening.address.split(':');
  await using balancer = await loadBalancer({ host, port: Number(port) }, 2_000);
  await using caller = await user();
  const { trust } = endpointOf(from);
  const endpoint = { ...resolveEndpoint(balancer.address, {}), trust, pingIntervalMs: 300 };
  const { handle } = await caller.client.inbound({ from: endpoint, producer: ['127.0.0.1:9'] });
  const stop = new AbortController();
  const statuses: StreamStatus[] = [];
  const watching = (async () => {
    for await (const status of handle.watch(stop.signal)) statuses.push(status);
  })();
  const { packets } = balancer.counts;
  // More pings and answers than fit into twice the idle limit.
  await eventually(async () => assert.ok(balancer.counts.packets > packets + 28));
  assert.is(balancer.counts.connections, 1);
  await handle.down();
  await watching;
  assert.equal([...new Set(statuses.map(({ from: side }) => side?.state))].includes('unreachable'), false);
});

s.run();
