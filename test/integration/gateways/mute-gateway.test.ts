// suite: full
/** Data servers that do not answer, or whose control server connects and disconnects. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as assert from 'uvu/assert';
import { LevelStreamStore, RemoteGateway } from '@scistream/core/internal';
import { eventually, temporaryDirectory, testRecord, testSpec } from '@scistream/core/testing';
import { startGateway } from '../../support/gateways.js';
import { NOTHING } from '../../support/leftovers.js';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('mute gateways');

const ADMIN = 'token-of-an-admin';
const ADMIN_SHA256 = createHash('sha256').update(ADMIN).digest('hex');
const PATIENCE_MS = 60_000;
/** Much less than the time limit of a call to a data server. */
const SOON_MS = 20_000;

/** A connection to the socket of a data server that can become silent without closing. */
async function line(to: string | undefined) {
  const directory = await temporaryDirectory();
  const path = join(directory.path, 'line.sock');
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const ends = to === undefined ? [near] : [near, connect(to.replace(/^unix:/, ''))];
    for (const end of ends) {
      sockets.add(end.on('error', () => end.destroy()));
      end.once('close', () => ends.forEach((other) => other.destroy()));
    }
    const [, far] = ends;
    if (far) near.pipe(far).pipe(near);
  });
  await once(server.listen(path), 'listening');
  return {
    s2ds: `unix:${path}`,
    get connections(): number {
      return sockets.size;
    },
    /** Open connections carry nothing from now on. */
    mute: (): void => sockets.forEach((socket) => socket.unpipe().pause()),
    [Symbol.asyncDispose]: async (): Promise<void> => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await directory.remove();
    },
  };
}

async function within(what: string, work: () => Promise<unknown>): Promise<void> {
  const begun = performance.now();
  await work();
  const ms = performance.now() - begun;
  assert.ok(ms < SOON_MS, `${what} took ${ms} ms`);
}

const collectGarbage = (): void => {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc()');
};

for (const state of ['updating', 'releasing'] as const) {
  s(`a start with a stream that is ${state} on a mute gateway serves the other gateways soon`, async () => {
    await using directory = await temporaryDirectory();
    await using mute = await line(undefined);
    await using well = await startGateway('a');
    await well.start();
    const store = new LevelStreamStore(directory.path);
    await store.open();
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    const record = testRecord('left-half-done', state);
    await store.create({ ...record, gateway: 'b', targets: [{ host: '::1', port: 9 }], expiresAt });
    await store.close();
    const gateways = [well.entry, { ...well.entry, name: 'b', s2ds: mute.s2ds }];
    const made: TestServer[] = [];
    await within('the start', async () => made.push(await TestServer.start({ gateways, state: directory.path })));
    const [server] = made;
    if (!server) return;
    const { uid } = await server.setUp();
    await within('the list', () => server.peer.streams.list({}));
    await server.peer.control.release({ uid });
    server.peer.cut();
    await server.server.stop();
  });
}

s('a stream that has left a mute gateway can be controlled as before', async () => {
  await using old = await startGateway('a');
  await using next = await startGateway('b');
  await Promise.all([old.start(), next.start()]);
  await using way = await line(old.entry.s2ds);
  await using server = await TestServer.start({
    gateways: [{ ...old.entry, s2ds: way.s2ds }, next.entry],
    auth: [{ use: 'token', tokens: [{ subject: 'admin', sha256: ADMIN_SHA256, admin: true }] }],
  });
  const peer = await server.connect(ADMIN);
  const uid = 'movable-stream';
  await Promise.all([
    peer.control.req({ uid, role: 'PROD', numConn: 1, gateway: 'a', movable: true }),
    peer.control.hello({ uid }),
  ]);
  for await (const { to } of peer.streams.moveStreams({ gateway: 'a', graceMs: 600_000n })) assert.is(to, 'b');
  way.mute();
  await within('UPDATE', () => peer.control.update({ uid, remoteListeners: ['127.0.0.1:9'] }));
  await within('RELEASE', () => peer.control.release({ uid }));
  assert.equal(await next.leftovers(), NOTHING);
  await eventually(async () => assert.equal(await old.leftovers(), NOTHING), PATIENCE_MS);
});

s('a connection that was lost silently is replaced', async () => {
  await using site = await startGateway('a');
  await site.start();
  await using way = await line(site.entry.s2ds);
  await using server = await TestServer.start({ gateways: [{ ...site.entry, s2ds: way.s2ds }] });
  const { uid } = await server.setUp();
  const before = way.connections;
  way.mute();
  await eventually(() => assert.ok(way.connections > before), PATIENCE_MS);
  await eventually(() => server.peer.control.release({ uid }).then(() => undefined), PATIENCE_MS);
  assert.equal(await site.leftovers(), NOTHING);
});

s('a control server that connects and disconnects leaves nothing in a data server', async () => {
  const STREAMS = 4;
  const TIMES = 50;
  await using site = await startGateway('a');
  await site.start();
  const commander = (): RemoteGateway => new RemoteGateway('a', site.entry.s2ds, async () => 'a-control-server');
  const first = commander();
  const uids = Array.from({ length: STREAMS }, (_, i) => `stream-number-${i}`);
  for (const uid of uids) {
    await first.reserve(uid, testSpec);
    await first.start(uid, new AbortController().signal);
  }
  const visits = async (times: number): Promise<number> => {
    for (let i = 0; i < times; i += 1) {
      const visitor = commander();
      const waits = uids.flatMap((uid) => [visitor.ended(uid), visitor.restarted(uid, 0)]);
      await visitor.describe();
      await visitor.close();
      await Promise.allSettled(waits);
    }
    await first.describe();
    collectGarbage();
    return process.memoryUsage().heapUsed;
  };
  const before = await visits(20);
  const each = ((await visits(TIMES)) - before) / (TIMES * STREAMS);
  assert.ok(each < 20_000, `${each} bytes more per stream and visit`);
  for (const uid of uids) await first.release(uid);
  await first.close();
});

s.run();
