/** What a control server recovers after a restart: streams, waiting requests, lifetimes, ports. */
import { randomUUID } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { formatAddress } from '@scistream/core';
import { GatewayStore, LevelStreamStore } from '@scistream/core/internal';
import { dial, eventually, exchange, named, read, tcpServer, temporaryDirectory } from '@scistream/core/testing';
import { refused } from '../../support/clients.js';
import { NOTHING, processesBelow } from '../../support/leftovers.js';
import { freeRange } from '../../support/ports.js';
import { TestServer, type ServerOptions } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('restart of a control server');

/** A state directory and ports, and servers on it one after another. The last one releases everything. */
async function site(options: ServerOptions = {}) {
  const directory = await temporaryDirectory();
  const range = await freeRange(16);
  const start = (more: ServerOptions = {}): Promise<TestServer> =>
    TestServer.start({ state: directory.path, range, ...options, ...more });
  return { state: directory.path, start, [Symbol.asyncDispose]: () => directory.remove() };
}

/** Stops a server as SIGTERM does: its streams continue. */
async function stop(server: TestServer): Promise<void> {
  await server.server.stop();
  server.peer.cut();
}

s('a stream continues, connections included, and can be controlled again', async () => {
  await using here = await site();
  await using a = await tcpServer(named('a'));
  await using b = await tcpServer(named('b'));
  const first = await here.start();
  const { uid, entry } = await first.setUp({ count: 3, targets: [formatAddress(a.address)] });
  const open = await dial(entry);
  assert.is(await read(open, 1), 'a');
  const { processes } = await first.leftovers();
  await stop(first);
  open.write('while nobody commands');
  assert.is(await read(open, 21), 'while nobody commands');

  await using second = await here.start();
  assert.equal((await second.leftovers()).processes, processes);
  const found = await second.peer.streams.get({ uid });
  assert.is(found.state, 'streaming');
  assert.is(Number(found.statistics[0]?.connections), 1);
  await second.peer.control.update({ uid, remoteListeners: [formatAddress(b.address)] });
  assert.is(await exchange(entry, 'x'), 'bx');
  open.write('still');
  assert.is(await read(open, 5), 'still');
  open.destroy();
  // Its ports are not given to others.
  const other = await second.setUp({ count: 13 });
  assert.not(other.listeners.map(formatAddress).includes(formatAddress(entry)));
  for (const each of [uid, other.uid]) await second.peer.control.release({ uid: each });
  assert.equal(await second.leftovers(), NOTHING);
});

s('a request that waits for HELLO can be sent again, and HELLO may arrive before that', async () => {
  await using here = await site();
  const first = await here.start();
  const [early, late] = [randomUUID(), randomUUID()];
  const lost = [early, late].map((uid) =>
    refused(first.peer.control.req({ uid, role: 'PROD', numConn: 2 }), 'SCI_SHUTTING_DOWN'),
  );
  for (const uid of [early, late]) await eventually(async () => assert.is(await first.stateOf(uid), 'waiting'));
  await stop(first);
  await Promise.all(lost);

  await using second = await here.start();
  const { control } = second.peer;
  await control.hello({ uid: early, prodListeners: ['127.0.0.1:9'] });
  assert.is((await control.req({ uid: early, role: 'PROD', numConn: 2 })).listeners.length, 2);
  await refused(control.req({ uid: late, role: 'PROD', numConn: 3 }), 'SCI_STREAM_EXISTS');
  const again = control.req({ uid: late, role: 'PROD', numConn: 2 });
  await refused(control.req({ uid: late, role: 'PROD', numConn: 2 }), 'SCI_STREAM_EXISTS');
  await control.hello({ uid: late });
  assert.is((await again).listeners.length, 2);
});

s('the wait for HELLO and the lifetime continue, and expire', async () => {
  await using here = await site({ limits: { helloTimeoutMs: 5_000, lifetimeMs: 6_000 } });
  const first = await here.start();
  const uid = randomUUID();
  const lost = refused(first.peer.control.req({ uid, role: 'PROD', numConn: 1 }), 'SCI_SHUTTING_DOWN');
  await eventually(async () => assert.is(await first.stateOf(uid), 'waiting'));
  const { uid: short } = await first.setUp();
  await stop(first);
  await lost;
  await using second = await here.start();
  await eventually(async () => assert.is(await second.stateOf(uid), 'failed'));
  await eventually(async () => assert.is(await second.stateOf(short), 'released'));
  assert.equal(await second.leftovers(), NOTHING);
});

s('a proxy that died while the server was down is restarted with its targets', async () => {
  await using here = await site();
  await using a = await tcpServer(named('a'));
  const first = await here.start();
  const { uid, entry } = await first.setUp({ targets: [formatAddress(a.address)] });
  const { processes } = await first.leftovers();
  await stop(first);
  for (const pid of processes) process.kill(pid, 'SIGKILL');
  // An instance that is still ending would be adopted, and break the connection.
  await eventually(async () => assert.equal(await processesBelow(here.state), []));
  await using second = await here.start();
  assert.is(await exchange(entry, 'x'), 'ax');
  await second.peer.control.release({ uid });
  assert.equal(await second.leftovers(), NOTHING);
});

s('a stream is recovered even if the server died right after it created the directory of a proxy', async () => {
  await using here = await site();
  await using a = await tcpServer(named('a'));
  const first = await here.start();
  const { uid, entry } = await first.setUp({ targets: [formatAddress(a.address)] });
  const { processes } = await first.leftovers();
  await stop(first);
  for (const pid of processes) process.kill(pid, 'SIGKILL');
  await eventually(async () => assert.equal(await processesBelow(here.state), []));
  const [name = ''] = await readdir(join(here.state, 'process'));
  await rm(join(here.state, 'process', name, '.instance.json'));
  await using second = await here.start();
  assert.is(await exchange(entry, 'x'), 'ax');
  await second.peer.control.release({ uid });
  assert.equal(await second.leftovers(), NOTHING);
});

s('proxies that died are restarted individually; the others keep their connections', async () => {
  await using here = await site({ proxies: { relay: { processes: 2 } } });
  await using a = await tcpServer(named('a'));
  const first = await here.start();
  const { uid, listeners } = await first.setUp({ count: 2, targets: [formatAddress(a.address)] });
  const { processes } = await first.leftovers();
  assert.is(processes.length, 2);
  const open = await Promise.all(listeners.map((listener) => dial(listener)));
  for (const connection of open) assert.is(await read(connection, 1), 'a');
  await stop(first);
  const [dead = 0, alive] = processes;
  process.kill(dead, 'SIGKILL');
  await eventually(async () => assert.equal(await processesBelow(here.state), [alive]));

  await using second = await here.start();
  for (const listener of listeners) await eventually(async () => assert.is(await exchange(listener, 'x'), 'ax'));
  assert.ok((await second.leftovers()).processes.includes(alive ?? 0));
  const echoes = await Promise.all(
    open.map(async (connection) => {
      connection.on('error', () => undefined).write('still');
      return await read(connection, 5).catch(() => 'cut');
    }),
  );
  assert.equal(echoes.sort(), ['cut', 'still'], 'one of them used the dead proxy');
  for (const connection of open) connection.destroy();
  const { events } = await second.peer.streams.events({ uid });
  assert.match(events.find(({ what }) => what === 'restarted')?.detail ?? '', /relay was not running/);
  await second.peer.control.release({ uid });
  assert.equal(await second.leftovers(), NOTHING);
});

s('an update during which the server died, and which was not confirmed, is undone', async () => {
  await using here = await site();
  await using a = await tcpServer(named('a'));
  await using b = await tcpServer(named('b'));
  const first = await here.start();
  const { uid, entry } = await first.setUp({ targets: [formatAddress(a.address)] });
  await stop(first);
  // The state after a death when the gateway has the new targets and the record does not.
  const records = new LevelStreamStore(here.state);
  await records.open();
  await records.update(uid, (await records.get(uid))?.version ?? 0, { state: 'updating' });
  await records.close();
  const gateway = await GatewayStore.open(join(here.state, 'gateway'));
  const kept = gateway.get(uid);
  assert.ok(kept);
  await gateway.put(uid, { ...kept, targets: [b.address] });
  await gateway.close();

  await using second = await here.start();
  assert.equal((await second.peer.streams.get({ uid })).targets, [formatAddress(a.address)]);
  assert.is(await exchange(entry, 'x'), 'ax');
  await second.peer.control.release({ uid });
});

s('streams without a record are released, and streams without an instance fail', async () => {
  await using here = await site();
  const first = await here.start();
  const { uid } = await first.setUp();
  await stop(first);
  await rm(join(here.state, 'db'), { recursive: true });
  const second = await here.start();
  assert.equal(await second.leftovers(), NOTHING);
  await refused(second.peer.streams.get({ uid }), 'SCI_STREAM_NOT_FOUND');
  const { uid: other } = await second.setUp();
  await stop(second);
  await rm(join(here.state, 'gateway'), { recursive: true });
  await using third = await here.start();
  await eventually(async () => assert.is(await third.stateOf(other), 'failed'));
  assert.equal(await third.leftovers(), NOTHING);
});

s('ended streams stay known, and no secrets or unknown files remain', async () => {
  await using here = await site();
  const first = await here.start();
  const { uid } = await first.setUp();
  await first.peer.control.release({ uid });
  const { events } = await first.peer.streams.events({ uid });
  assert.equal(
    events.map(({ what, by }) => [what, by]),
    [
      ['requested', 'none:anonymous'],
      ['reserved', ''],
      ['hello', 'none:anonymous'],
      ['released', 'none:anonymous'],
    ],
  );
  await stop(first);
  await using second = await here.start();
  assert.is(await second.stateOf(uid), 'released');
  assert.equal((await second.peer.streams.events({ uid })).events, events);
  assert.equal((await readdir(here.state)).sort(), [
    'auth',
    'db',
    'gateway',
    'lock',
    'owner',
    'process',
    'proxies',
    'tls',
  ]);
});

s.run();
