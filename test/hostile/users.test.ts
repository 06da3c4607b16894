// suite: full
/** What an ordinary user can do to a control server and its other users. Each attack is small, and each has a limit. */
import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:http2';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { eventually, temporaryDirectory } from '@scistream/core/testing';
import { refused, type Peer } from '../support/clients.js';
import { TestServer, type ServerOptions } from '../support/server.js';
import { suite } from '../support/suite.js';

const s = suite('ordinary users');

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** A control server with two users, and an audit log of which `lines` returns the entries. */
async function site(options: ServerOptions = {}) {
  const directory = await temporaryDirectory();
  const tokens = ['alice', 'bob', 'root'].map((subject) => ({
    subject,
    sha256: sha256(subject),
    admin: subject === 'root',
  }));
  const file = join(directory.path, 'audit.jsonl');
  const audit = { file, size: 1e6, keep: 1 };
  const server = await TestServer.start({ auth: [{ use: 'token', tokens }], audit, ...options });
  const [alice, bob, root] = await Promise.all(['alice', 'bob', 'root'].map((name) => server.connect(name)));
  if (!alice || !bob || !root) throw new Error('no users');
  const lines = async (): Promise<string[]> => (await readFile(file, 'utf8')).trim().split('\n');
  const dispose = async (): Promise<void> => {
    await server[Symbol.asyncDispose]();
    await directory.remove();
  };
  return { server, alice, bob, root, lines, [Symbol.asyncDispose]: dispose };
}

/** Names of the longest kind. */
const names = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${i}.${['x', 'y', 'z'].map((one) => one.repeat(60)).join('.')}.example:9`);

const hosts = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `192.0.2.${i % 250}:${9 + (i >> 8)}`);

/** REQ and HELLO with the same uid. @returns The first error code; `ok` without one */
async function setUp(peer: Peer, uid: string, prodListeners: string[] = [], numConn = 1): Promise<string> {
  const code = (error: unknown): string => (error as { metadata: Headers }).metadata.get('scistream-code') ?? '';
  const req = peer.control.req({ uid, role: 'PROD', numConn }).then(() => 'ok', code);
  const hello = await peer.control.hello({ uid, role: 'PROD', prodListeners }).then(() => 'ok', code);
  return hello === 'ok' ? await req : hello;
}

s('memory: the producers of a HELLO are limited by the listeners, and the events of a stream by bytes', async () => {
  await using here = await site();
  assert.is(await setUp(here.alice, randomUUID(), names(4096)), 'SCI_TARGETS_INVALID');
  assert.is(await setUp(here.alice, randomUUID(), names(17)), 'SCI_TARGETS_INVALID');
  const uid = randomUUID();
  assert.is(await setUp(here.alice, uid, names(16)), 'ok');
  for (let i = 0; i < 5; i += 1) await here.alice.control.update({ uid, remoteListeners: hosts(4000) });
  const { targets } = await here.alice.streams.get({ uid });
  assert.is(targets.length, 1);
  const { events } = await here.alice.streams.events({ uid });
  const size = events.reduce((sum, { at, what, by, detail }) => sum + [at, what, by, detail].join().length, 0);
  assert.ok(size < 6_000, `${size} characters`);
  assert.is(events.at(-1)?.what, 'targets');
  await refused(here.alice.control.update({ uid, remoteListeners: names(400) }), 'SCI_TARGETS_INVALID');
});

s('memory: a list has pages, and a caller has a limit of answers that it does not read', async () => {
  await using here = await site();
  const uids: string[] = [];
  for (let i = 0; i < 4; i += 1) {
    const uid = randomUUID();
    uids.push(uid);
    assert.is(await setUp(here.alice, uid, names(16)), 'ok');
  }
  const first = await here.alice.streams.list({ pageSize: 3 });
  const rest = await here.alice.streams.list({ pageSize: 3, pageToken: first.nextPageToken });
  assert.equal(
    [...rest.streams, ...first.streams].map(({ uid }) => uid),
    uids,
  );
  assert.is(rest.nextPageToken, '');
  assert.is((await here.bob.streams.list({})).streams.length, 0);
  await refused(here.alice.streams.list({ pageToken: '../x' }), 'SCI_USAGE');

  // 4 MB of lists, of which the client reads nothing.
  const session = connect(`https://${here.server.listening.address}`, {
    rejectUnauthorized: false,
    settings: { initialWindowSize: 0 },
  });
  session.on('error', () => undefined);
  const call = { ':method': 'POST', ':path': '/scistream.v1.Streams/List', authorization: 'alice' };
  let rejected = 0;
  for (let i = 0; i < 300; i += 1) {
    const stream = session.request({ ...call, 'content-type': 'application/json', 'connect-protocol-version': '1' });
    stream.on('error', () => undefined);
    stream.on('response', (headers) => (rejected += headers[':status'] === 429 ? 1 : 0));
    stream.end('{}');
  }
  await eventually(() => Promise.resolve(assert.ok(rejected > 0)), 30_000);
  assert.is((await here.bob.streams.list({})).streams.length, 0, 'other callers are served');
  session.destroy();
  await eventually(async () => assert.is((await here.alice.streams.list({})).streams.length, 4), 30_000);
});

s('everything: streams, connections and calls of one identity have limits, which the errors name', async () => {
  await using here = await site({
    ports: 64,
    limits: { streamsPerIdentity: 2, streamsPerMinute: 30, updatesPerMinute: 6 },
  });
  const { alice, bob } = here;
  const message = await refused(
    alice.control.req({ uid: randomUUID(), role: 'PROD', numConn: 40 }),
    'SCI_LIMIT_REACHED',
  );
  assert.match(message, 'limits.connectionsPerIdentity, which is 32');
  const uid = randomUUID();
  assert.is(await setUp(alice, uid), 'ok');
  assert.is(await setUp(alice, randomUUID()), 'ok');
  const second = await refused(alice.control.req({ uid: randomUUID(), role: 'PROD', numConn: 1 }), 'SCI_LIMIT_REACHED');
  assert.match(second, 'limits.streamsPerIdentity, which is 2');
  assert.is(await setUp(bob, randomUUID(), [], 32), 'ok', 'another identity has its own share');
  await alice.control.update({ uid, remoteListeners: ['192.0.2.1:9'] });
  const update = alice.control.update({ uid, remoteListeners: ['192.0.2.1:9'] });
  assert.match(
    await refused(update, 'SCI_RATE_LIMITED'),
    '6 UPDATEs of this caller per minute (limits.updatesPerMinute)',
  );
  const reqs = Array.from({ length: 50 }, () => alice.control.req({ uid: randomUUID(), role: 'PROD', numConn: 1 }));
  const told = (await Promise.allSettled(reqs)).map((one) => (one.status === 'rejected' ? String(one.reason) : ''));
  assert.ok(told.some((text) => text.includes('30 REQs of this caller per minute (limits.streamsPerMinute)')));
});

s('history: refused calls cannot wash away the audit log', async () => {
  await using here = await site();
  const { alice, bob, lines } = here;
  const uid = randomUUID();
  assert.is(await setUp(alice, uid), 'ok');
  for (let i = 0; i < 70; i += 1) {
    await refused(bob.control.update({ uid, remoteListeners: names(200) }), 'SCI_STREAM_NOT_FOUND');
    await alice.control.hello({ uid, role: 'PROD' });
  }
  for (let i = 0; i < 5; i += 1) await alice.control.update({ uid, remoteListeners: hosts(300) });
  const found = await lines();
  assert.ok(Math.max(...found.map((line) => line.length)) < 5_000, 'a line has a limit');
  assert.ok(found.length < 80, `${found.length} lines`);
  assert.is(found.filter((line) => line.includes('"action":"update","uid"') && line.includes('alice')).length, 5);
  assert.match(found.at(-1) ?? '', '"count":300');
  for (const peer of [alice, bob, here.root, here.server.peer]) peer.cut();
  await here.server.server.stop({ release: true });
  const told = (await lines()).join('\n');
  assert.match(told, '"source":"token:bob","suppressed":10');
});

s('others: no answer tells whether another owner has a uid, and an ended uid stays its owner’s', async () => {
  await using here = await site();
  const { alice, bob, root, lines } = here;
  const [live, ended, free] = [randomUUID(), randomUUID(), randomUUID()];
  assert.is(await setUp(alice, live), 'ok');
  assert.is(await setUp(alice, ended), 'ok');
  await alice.control.release({ uid: ended });
  const answers: string[][] = [];
  const uids = [live, ended, free];
  const hellos = uids.map((uid) =>
    refused(bob.control.hello({ uid, prodListeners: names(17) }), 'SCI_STREAM_NOT_FOUND'),
  );
  const greeted = await Promise.all(hellos);
  for (const [i, uid] of uids.entries()) {
    const calls = [
      bob.control.update({ uid, remoteListeners: ['192.0.2.1:9'] }),
      bob.control.release({ uid }),
      bob.streams.get({ uid }),
      bob.streams.events({ uid }),
      bob.streams.openProbe({ uid }),
      bob.streams.connectTargets({ uid }),
    ];
    const texts = [(greeted[i] ?? '').replace(uid, 'UID')];
    for (const call of calls) texts.push((await refused(call, 'SCI_STREAM_NOT_FOUND')).replace(uid, 'UID'));
    const { req } = await here.server.setUp({ uid, peer: bob });
    assert.is(req.stream?.uid, uid);
    assert.is(req.stream?.owner, 'token:bob');
    texts.push(
      (await refused(bob.control.req({ uid, role: 'PROD', numConn: 1 }), 'SCI_STREAM_EXISTS')).replace(uid, 'UID'),
    );
    await bob.control.update({ uid, remoteListeners: ['192.0.2.1:9'] });
    assert.is((await bob.streams.get({ uid })).state, 'ready');
    await bob.control.release({ uid });
    texts.push(
      (await bob.streams.events({ uid })).events
        .map(({ what, detail }) => `${what} ${detail}`)
        .join()
        .replaceAll(uid, 'UID'),
    );
    texts[texts.length - 1] = texts.at(-1)?.replace(/127\.0\.0\.\d:\d+/g, 'LISTENER') ?? '';
    answers.push(texts);
  }
  assert.equal(answers[0], answers[2]);
  assert.equal(answers[1], answers[2]);
  const refusals = (await lines()).filter((line) => line.includes('"refused"') && line.includes('token:bob'));
  const of = (uid: string): number => refusals.filter((line) => line.includes(uid) && !line.includes('"view"')).length;
  assert.equal([of(live), of(ended)], [of(free), of(free)]);

  assert.is((await alice.streams.get({ uid: live })).owner, 'token:alice');
  assert.is((await alice.streams.get({ uid: ended })).state, 'released');
  assert.is(await setUp(alice, ended), 'ok', 'its owner may use it again');
  const history = (await alice.streams.events({ uid: ended })).events.map(({ what }) => what);
  assert.equal(history, ['requested', 'reserved', 'hello', 'released', 'requested', 'reserved', 'hello']);
  const all = (await root.streams.list({ ended: true })).streams;
  assert.is(new Set(all.map(({ uid }) => uid)).size, all.length, 'uids are distinct for an admin');
  await refused(
    bob.control.req({ uid: all.find(({ uid }) => uid.startsWith('own-'))?.uid ?? '', role: 'PROD', numConn: 1 }),
    'SCI_UID_INVALID',
  );
});

s.run();
