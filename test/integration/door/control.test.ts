/** The life of a stream on one control server: REQ, HELLO, UPDATE and RELEASE in every order. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { formatAddress, poll } from '@scistream/core';
import { eventually, exchange, named, tcpServer } from '@scistream/core/testing';
import { refused } from '../../support/clients.js';
import { NOTHING, processesBelow } from '../../support/leftovers.js';
import { FACILITY, GATEWAY, LAN, TestServer, WAN } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('control');

/** Whether a promise is still pending. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending');
  return (await Promise.race([promise.catch(() => undefined), Promise.resolve(pending)])) === pending;
}

/** Waits until the server knows the stream and it is in this state. */
const reaches = (server: TestServer, uid: string, state: string): Promise<void> =>
  eventually(async () => assert.is(await server.stateOf(uid), state));

s('PROD: req waits for HELLO, answers both lists, forwards after UPDATE, and RELEASE leaves nothing', async () => {
  await using server = await TestServer.start();
  await using producer = await tcpServer(named('P'));
  const { control, streams } = server.peer;
  const uid = randomUUID();
  const req = control.req({ uid, role: 'PROD', numConn: 2, rate: 10_000, name: 'tomo' });
  await reaches(server, uid, 'waiting');
  assert.ok(await isPending(req), 'req answers only after HELLO');
  const announced = ['10.0.1.5:5001', '[2001:db8::5]:5002', 'detector.example:5003'];
  assert.equal((await control.hello({ uid, role: 'PROD', prodListeners: announced })).listeners, []);
  const reply = await req;
  assert.is(reply.listeners.length, 2);
  assert.ok(reply.listeners.every((listener) => listener.startsWith(`${WAN}:`)));
  assert.equal(reply.prodListeners, announced);
  const target = formatAddress(producer.address);
  const updated = await control.update({ uid, role: 'PROD', remoteListeners: [target] });
  assert.equal([updated.listeners, updated.prodListeners], [reply.listeners, [target, target]]);
  const stream = await streams.get({ uid });
  const { name, role, state, facility, gateway, proxy, runtime, transport, owner } = stream;
  assert.equal(
    { name, role, state, facility, gateway, proxy, runtime, transport, owner },
    {
      name: 'tomo',
      role: 'PROD',
      state: 'ready',
      facility: FACILITY,
      gateway: GATEWAY,
      proxy: 'relay',
      runtime: 'process',
      transport: 'tcp',
      owner: 'none:anonymous',
    },
  );
  assert.equal([stream.listeners, stream.announced, stream.targets], [reply.listeners, announced, [target, target]]);
  for (const listener of reply.listeners) {
    const [host = '', port] = listener.split(':');
    assert.is(await exchange({ host, port: Number(port) }, 'data'), 'Pdata');
  }
  await reaches(server, uid, 'idle');
  assert.is(
    (await streams.get({ uid })).statistics.reduce((sum, { bytesIn }) => sum + Number(bytesIn), 0),
    8,
  );
  assert.equal(await control.release({ uid }), await control.release({ uid }), 'RELEASE may be repeated');
  assert.equal(await server.leftovers(), NOTHING);
  const after = await streams.get({ uid });
  assert.equal([after.state, after.statistics[0]?.connections], ['released', 1n]);
});

s('CONS: listeners are on the inside and HELLO returns them, whatever role it states', async () => {
  await using server = await TestServer.start();
  const { req, hello, listeners } = await server.setUp({ role: 'CONS', count: 5 });
  assert.ok(listeners.every(({ host }) => host === LAN));
  assert.equal(hello.listeners, req.listeners);
  assert.equal(req.prodListeners, []);
  const uid = randomUUID();
  const other = server.peer.control.req({ uid, role: 'CONS', numConn: 1, rate: 1 });
  const greeted = await server.peer.control.hello({ uid, role: 'PROD', prodListeners: [] });
  assert.equal(greeted.listeners, (await other).listeners, 'the role of the request is used');
  assert.is(greeted.listeners.length, 1);
});

s('a HELLO that arrives before its req waits for it', async () => {
  await using server = await TestServer.start();
  const { control } = server.peer;
  const uid = randomUUID();
  const hello = control.hello({ uid, role: 'CONS' });
  // The same connection answers this after the server has seen HELLO.
  await server.peer.streams.describeServer({});
  assert.ok(await isPending(hello));
  const req = await control.req({ uid, role: 'CONS', numConn: 1 });
  assert.equal((await hello).listeners, req.listeners);
});

s('a HELLO without a request is rejected', async () => {
  await using server = await TestServer.start();
  await refused(server.peer.control.hello({ uid: randomUUID(), role: 'PROD' }), 'SCI_STREAM_NOT_FOUND');
});

s('HELLO may be repeated, even while data flows', async () => {
  await using server = await TestServer.start();
  await using producer = await tcpServer(named('P'));
  const target = formatAddress(producer.address);
  const { uid, entry, hello } = await server.setUp({ role: 'CONS', targets: [target] });
  assert.equal(await server.peer.control.hello({ uid, role: 'CONS' }), hello);
  assert.is(await server.stateOf(uid), 'ready');
  await refused(server.peer.control.hello({ uid, role: 'CONS', prodListeners: ['nonsense'] }), 'SCI_ADDRESS_INVALID');
  assert.is(await exchange(entry, 'x'), 'Px', 'a rejected repetition does not end the stream');
});

s('without HELLO, req fails and its ports are free again', async () => {
  await using server = await TestServer.start({ limits: { helloTimeoutMs: 200 } });
  const uid = randomUUID();
  const req = server.peer.control.req({ uid, role: 'PROD', numConn: 3 });
  req.catch(() => undefined);
  await eventually(async () => assert.is((await server.leftovers()).listening.length, 3));
  assert.match(await refused(req, 'SCI_HELLO_TIMEOUT'), /200 ms/);
  assert.equal(await server.leftovers(), NOTHING);
  assert.is((await server.peer.streams.get({ uid })).error?.code, 'SCI_HELLO_TIMEOUT');
});

s('a client that disappears while req waits: everything is released', async () => {
  await using server = await TestServer.start();
  for (const how of ['cancel', 'cut'] as const) {
    const peer = await server.connect();
    const uid = randomUUID();
    const cancel = new AbortController();
    const req = peer.control.req({ uid, role: 'PROD', numConn: 2 }, { signal: cancel.signal });
    const settled = req.catch(() => undefined);
    await reaches(server, uid, 'waiting');
    if (how === 'cancel') cancel.abort();
    else peer.cut();
    await settled;
    await reaches(server, uid, 'failed');
    assert.equal(await server.leftovers(), NOTHING, how);
    assert.is((await server.peer.streams.get({ uid })).error?.code, 'SCI_CLIENT_GONE');
  }
});

s('RELEASE while req waits ends that req', async () => {
  await using server = await TestServer.start();
  const uid = randomUUID();
  const req = server.peer.control.req({ uid, role: 'PROD', numConn: 2 });
  req.catch(() => undefined);
  await reaches(server, uid, 'waiting');
  await server.peer.control.release({ uid });
  await refused(req, 'SCI_STREAM_RELEASED');
  assert.equal([await server.stateOf(uid), await server.leftovers()], ['released', NOTHING]);
});

s('RELEASE while the proxy starts ends HELLO and req, and leaves no process', async () => {
  await using server = await TestServer.start();
  const uid = randomUUID();
  const { control } = server.peer;
  const req = control.req({ uid, role: 'PROD', numConn: 1 });
  req.catch(() => undefined);
  await reaches(server, uid, 'waiting');
  const hello = control.hello({ uid, role: 'PROD' });
  hello.catch(() => undefined);
  // Stopped as soon as it is found, long before Node.js has started in it, so that it does not become ready.
  const found = async (): Promise<number | undefined> => (await processesBelow(server.state))[0];
  const pid = await poll(found, { timeoutMs: 5_000, intervalMs: 1 }, () => new Error('no proxy was started'));
  process.kill(pid, 'SIGSTOP');
  await control.release({ uid });
  assert.equal(await server.leftovers(), NOTHING);
  await refused(req, 'SCI_STREAM_RELEASED');
  await refused(hello, 'SCI_STREAM_RELEASED');
});

s('a rejected HELLO ends its req, too', async () => {
  await using server = await TestServer.start();
  const uid = randomUUID();
  const req = server.peer.control.req({ uid, role: 'PROD', numConn: 2 });
  req.catch(() => undefined);
  const hello = server.peer.control.hello({ uid, role: 'PROD', prodListeners: ['10.0.0.1:5001', '10.0.0.1:99999'] });
  assert.match(await refused(hello, 'SCI_ADDRESS_INVALID'), /10\.0\.0\.1:99999/);
  await refused(req, 'SCI_ADDRESS_INVALID');
  assert.equal([await server.stateOf(uid), await server.leftovers()], ['failed', NOTHING]);
});

s('a proxy that cannot be started ends HELLO and req with the reason', async () => {
  await using server = await TestServer.start();
  const uid = randomUUID();
  const serverId = await readFile(join(server.state, 'owner'), 'utf8');
  const hash = createHash('sha256').update(`${serverId} ${uid}`).digest('hex').slice(0, 8);
  const stranger = join(server.state, 'process', `scistream-${uid.slice(0, 8)}-${hash}-0`);
  await mkdir(stranger, { recursive: true });
  // Its record exists: an instance without a record counts as a remnant of a killed daemon.
  await writeFile(join(stranger, '.instance.json'), JSON.stringify({ labels: {}, stopSignal: 'SIGTERM' }));
  const req = server.peer.control.req({ uid, role: 'PROD', numConn: 2 });
  req.catch(() => undefined);
  await refused(server.peer.control.hello({ uid, role: 'PROD' }), 'SCI_CONTAINER_CONFLICT');
  await refused(req, 'SCI_CONTAINER_CONFLICT');
  await rm(stranger, { recursive: true });
  assert.equal(await server.leftovers(), NOTHING);
});

s('UPDATE before HELLO is rejected and does not disturb req', async () => {
  await using server = await TestServer.start();
  const uid = randomUUID();
  const { control } = server.peer;
  const req = control.req({ uid, role: 'PROD', numConn: 1 });
  await reaches(server, uid, 'waiting');
  await refused(control.update({ uid, role: 'PROD', remoteListeners: ['127.0.0.1:9'] }), 'SCI_STREAM_STATE');
  assert.ok(await isPending(req));
  await control.hello({ uid, role: 'PROD' });
  assert.is((await req).listeners.length, 1);
});

s('a uid is in use once, and free again after RELEASE', async () => {
  await using server = await TestServer.start();
  const { uid } = await server.setUp();
  const again = { uid, role: 'CONS', numConn: 1 };
  await refused(server.peer.control.req(again), 'SCI_STREAM_EXISTS');
  assert.equal([await server.stateOf(uid), (await server.peer.streams.get({ uid })).role], ['waiting', 'PROD']);
  await server.peer.control.release({ uid });
  await server.setUp({ uid, role: 'CONS' });
});

s('a stream that has ended allows only a new REQ', async () => {
  await using server = await TestServer.start();
  const { uid } = await server.setUp();
  await server.peer.control.release({ uid });
  const update = server.peer.control.update({ uid, role: 'PROD', remoteListeners: ['127.0.0.1:9'] });
  assert.match(await refused(update, 'SCI_STREAM_STATE'), /released/);
  await refused(server.peer.control.hello({ uid, role: 'PROD' }), 'SCI_STREAM_NOT_FOUND');
  assert.is(await server.stateOf(uid), 'released');
});

s('an expired lifetime releases the stream, running or waiting', async () => {
  await using server = await TestServer.start({ limits: { lifetimeMs: 4_000 } });
  const waiting = randomUUID();
  const req = server.peer.control.req({ uid: waiting, role: 'PROD', numConn: 2, lifetimeMs: 300n });
  req.catch(() => undefined);
  const { uid } = await server.setUp({ count: 2 });
  const { createdAt, expiresAt } = await server.peer.streams.get({ uid });
  assert.is(Date.parse(expiresAt) - Date.parse(createdAt), 4_000);
  assert.match(await refused(req, 'SCI_STREAM_RELEASED'), /lifetime/);
  await reaches(server, uid, 'released');
  assert.equal(await server.leftovers(), NOTHING);
});

s.run();
