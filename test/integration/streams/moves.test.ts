/** Streams that leave a drained gateway: connections, targets and the other facility follow; some moves are rejected. */
import { createHash, randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { formatAddress, SciStreamError, type Address } from '@scistream/core';
import { S2UC, type StreamHandle, type StreamMove } from '@scistream/core/client';
import { dial, eventually, exchange, named, read, tcpServer, temporaryDirectory } from '@scistream/core/testing';
import { refused } from '../../support/clients.js';
import { startGateway, PORTS, type GatewaySite } from '../../support/gateways.js';
import { leftovers, NOTHING } from '../../support/leftovers.js';
import { freeRange } from '../../support/ports.js';
import { LAN, TestServer, toAddress, WAN } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('moves');

const PATIENCE_MS = 60_000;
const MINUTE = 60_000;
const TOKEN = 'token-of-the-operator';
const sha256 = createHash('sha256').update(TOKEN).digest('hex');
const auth = [{ use: 'token', tokens: [{ subject: 'operator', sha256, admin: true }] }];

/** A gateway in the process of the control server, as an entry of its configuration. */
async function embedded(name: string) {
  return {
    name,
    s2ds: 'embedded',
    wan: WAN,
    lan: LAN,
    ports: await freeRange(PORTS),
    proxy: 'relay',
    runtime: 'process',
  };
}

/** Two facilities and a user, who is also the operator. The first has gateway a (embedded) and data server b. */
async function site(which: 'inbound' | 'outbound') {
  const made: AsyncDisposable[] = [];
  const use = <T extends AsyncDisposable>(one: T): T => {
    made.unshift(one);
    return one;
  };
  const b = use(await startGateway('b'));
  await b.start();
  const a = await embedded('a');
  const two = { gateways: [a, b.entry], auth };
  const from = use(await TestServer.start(which === 'inbound' ? two : { auth }));
  const to = use(await TestServer.start(which === 'outbound' ? two : { auth }));
  const home = use(await temporaryDirectory());
  const file = join(home.path, 'token');
  await writeFile(file, TOKEN, { mode: 0o600 });
  const facility = ({ listening }: TestServer) => ({
    s2cs: toAddress(listening.address),
    fingerprint: listening.fingerprint ?? '',
    token: { file },
  });
  const facilities = { from: facility(from), to: facility(to) };
  const client = use(new S2UC({ facilities }, { stateDir: home.path }));
  const moving = which === 'inbound' ? from : to;
  const drain = async (gateway: string, graceMs = MINUTE): Promise<StreamMove[]> => {
    const moves: StreamMove[] = [];
    for await (const move of client.move(which === 'inbound' ? 'from' : 'to', gateway, graceMs)) moves.push(move);
    return moves;
  };
  return {
    client,
    from,
    to,
    b,
    drain,
    undrain: (gateway: string) => client.drain(which === 'inbound' ? 'from' : 'to', gateway, false),
    leftOn: (gateway: 'a' | 'b') => (gateway === 'a' ? leftovers(moving.state, a.ports) : b.leftovers()),
    [Symbol.asyncDispose]: async (): Promise<void> => {
      for (const one of made) await one[Symbol.asyncDispose]();
    },
  };
}

const entryOf = async (stream: StreamHandle): Promise<Address> => toAddress((await stream.status()).connect[0] ?? '');

/** The error of a promise that must reject. */
async function failure(promise: Promise<unknown>): Promise<SciStreamError> {
  const error: unknown = await promise.then(
    () => assert.unreachable('expected an error'),
    (thrown: unknown) => thrown,
  );
  if (!SciStreamError.is(error)) throw error;
  return error;
}

/** Waits until the other side has closed a connection. */
async function gone(socket: Awaited<ReturnType<typeof dial>>): Promise<void> {
  const more = await read(socket, 1).catch(() => '');
  assert.is(more, '');
  socket.destroy();
}

/** An open connection to the producer. */
async function begin(entry: Address): Promise<Awaited<ReturnType<typeof dial>>> {
  const socket = await dial(entry);
  assert.is(await read(socket, 1), 'p');
  return socket;
}

/** Sends a text over it and reads it back. */
async function over(socket: Awaited<ReturnType<typeof dial>>, text: string): Promise<string> {
  socket.write(text);
  return await read(socket, text.length);
}

s('the inbound side moves and returns, encrypted; the outbound side follows an update', async () => {
  await using made = await site('inbound');
  const { client } = made;
  await using producer = await tcpServer(named('p'));
  const where = { from: 'from', to: 'to', producer: [producer.address], movable: true };
  const stream = await client.up(where);
  const entry = await entryOf(stream);
  const gatewayOf = async (): Promise<string> => (await stream.status()).from?.gateway ?? '';
  let gateway = await gatewayOf();
  for (let turn = 0; turn < 2; turn += 1) {
    const [before] = (await stream.status()).from?.listeners ?? [];
    const old = await begin(entry);
    const [move, ...more] = await made.drain(gateway);
    assert.equal(more, []);
    const there = gateway === 'a' ? 'b' : 'a';
    assert.equal([move?.uid, move?.from, move?.to, move?.error], [stream.uid, gateway, there, undefined]);
    const { from, diagnosis } = await stream.status();
    assert.equal([from?.gateway, from?.listeners, from?.leaving], [there, move?.listeners, gateway]);
    assert.is.not(from?.listeners[0], before);
    assert.match(diagnosis, `scistream stream update ${stream.uid}`);

    // The old listeners still accept, and their connections stay open.
    assert.is(await exchange(entry, 'two'), 'ptwo');
    const stale = await failure(stream.verify());
    assert.is(stale.code, 'SCI_VERIFY_FAILED');
    assert.equal(stale.suggestions, [`scistream stream update ${stream.uid}`]);
    assert.match(stale.message, `${before ?? ''}, but the inbound side was moved to ${move?.listeners[0] ?? ''}`);
    assert.equal((await stream.follow()).to?.targets, move?.listeners);
    assert.ok((await stream.verify({ full: true })).ok);
    assert.is(await exchange(entry, 'three'), 'pthree');
    assert.is(await over(old, 'four'), 'four');
    assert.is((await stream.status()).from?.leaving, gateway, 'while a connection is open there');
    await gone(old.end());
    const left = gateway as 'a' | 'b';
    await eventually(async () => assert.is((await stream.status()).from?.leaving, undefined), PATIENCE_MS);
    assert.equal(await made.leftOn(left), NOTHING);
    await made.undrain(gateway);
    gateway = there;
  }
  const happened = (await stream.events())
    .filter(({ side }) => side === 'from')
    .map(({ what, by }) => `${what} ${by ?? ''}`);
  assert.equal(
    happened.filter((one) => /moved|left/.test(one)),
    ['moved token:operator', 'left ', 'moved token:operator', 'left '],
  );
  await stream.down();
  assert.equal(await Promise.all([made.leftOn('a'), made.leftOn('b')]), [NOTHING, NOTHING]);
});

s('the outbound side moves: status and watch show consumers the new listeners', async () => {
  await using made = await site('outbound');
  await using producer = await tcpServer(named('p'));
  const stream = await made.client.up({ from: 'from', to: 'to', producer: [producer.address], movable: true });
  const gateway = (await stream.status()).to?.gateway ?? '';
  const seen: (readonly string[])[] = [];
  const stop = new AbortController();
  const watching = (async () => {
    for await (const { connect } of stream.watch(stop.signal)) seen.push(connect);
  })().catch(() => undefined);
  await eventually(() => assert.is(seen.length, 1));
  const [move] = await made.drain(gateway);
  await eventually(() => assert.equal(seen.at(-1), move?.listeners), PATIENCE_MS);
  stop.abort();
  await watching;
  for (const entry of [seen[0]?.[0], move?.listeners[0]]) assert.is(await exchange(toAddress(entry ?? ''), 'x'), 'px');
  assert.ok((await stream.verify({ full: true })).ok);
  await stream.down();
  assert.equal(await Promise.all([made.leftOn('a'), made.leftOn('b')]), [NOTHING, NOTHING]);
});

s('an update during the grace period applies to both gateways; a second move must wait', async () => {
  await using made = await site('inbound');
  await using first = await tcpServer(named('1'));
  await using second = await tcpServer(named('2'));
  const stream = await made.client.up({ from: 'from', to: 'to', producer: [first.address], movable: true });
  const entry = await entryOf(stream);
  const gateway = (await stream.status()).from?.gateway ?? '';
  const [move] = await made.drain(gateway);
  await stream.update({ producer: [second.address] });
  assert.is(await exchange(entry, 'x'), '2x', 'over the old listeners');
  await made.undrain(gateway);
  const [again] = await made.drain(move?.to ?? '');
  assert.equal([again?.to, again?.error?.code], [undefined, 'SCI_STREAM_STATE']);
  assert.match(again?.error?.message ?? '', `is still leaving ${gateway}, until 20`);
});

s('a stream that is not movable stays, and so does one for which no other gateway has room', async () => {
  await using made = await site('inbound');
  await using producer = await tcpServer(named('p'));
  const stays = await made.client.up({ from: 'from', to: 'to', producer: [producer.address] });
  const gateway = (await stays.status()).from?.gateway ?? '';
  const other = gateway === 'a' ? 'b' : 'a';
  const peer = await made.from.connect(TOKEN);
  // All ports of the other gateway.
  const full = randomUUID();
  await Promise.all([
    peer.control.req({ uid: full, role: 'PROD', numConn: PORTS, gateway: other }),
    peer.control.hello({ uid: full }),
  ]);
  const movable = randomUUID();
  await Promise.all([
    peer.control.req({ uid: movable, role: 'PROD', numConn: 1, gateway, movable: true }),
    peer.control.hello({ uid: movable }),
  ]);
  const moves = await made.drain(gateway);
  assert.equal(
    moves.map(({ uid, to, error }) => [uid, to, error?.code]),
    [
      [stays.uid, undefined, undefined],
      [movable, undefined, 'SCI_PORTS_EXHAUSTED'],
    ],
  );
  const { gateway: now, movable: still, leaving } = await peer.streams.get({ uid: movable });
  assert.equal([now, still, leaving], [gateway, true, '']);
  assert.is(
    (await peer.streams.events({ uid: movable })).events.some(({ what }) => what === 'moved'),
    false,
  );
  assert.is(await exchange(await entryOf(stays), 'x'), 'px');
  assert.is((await peer.streams.describeServer({})).gateways.find(({ name }) => name === other)?.portsInUse, PORTS);
  await made.client.drain('from', other, true);
  assert.equal(
    (await made.drain(gateway)).map(({ error }) => error?.code),
    [undefined, 'SCI_NO_RESOURCE'],
  );
  const stranger = await made.from.connect();
  await refused(drainOver(stranger.streams.moveStreams({ gateway })), 'SCI_UNAUTHENTICATED');
  await stays.down();
  for (const uid of [full, movable]) await peer.control.release({ uid });
});

async function drainOver(answers: AsyncIterable<unknown>): Promise<void> {
  for await (const _answer of answers);
}

s('a restart during the grace period changes nothing; afterwards the old gateway has nothing left', async () => {
  await using a = await startGateway('a');
  await using b = await startGateway('b');
  await Promise.all([a.start(), b.start()]);
  await using directory = await temporaryDirectory();
  const serve = (sites: readonly GatewaySite[]): Promise<TestServer> =>
    TestServer.start({ gateways: sites.map(({ entry }) => entry), state: directory.path, auth });
  await using target = await tcpServer(named('p'));
  const first = await serve([a, b]);
  const peer = await first.connect(TOKEN);
  const uid = randomUUID();
  const [{ listeners }] = await Promise.all([
    peer.control.req({ uid, role: 'PROD', numConn: 1, gateway: 'a', movable: true }),
    peer.control.hello({ uid }),
  ]);
  await peer.control.update({ uid, remoteListeners: [formatAddress(target.address)] });
  const old = await begin(toAddress(listeners[0] ?? ''));
  await drainOver(peer.streams.moveStreams({ gateway: 'a', graceMs: BigInt(10 * MINUTE) }));
  await first.server.stop();
  for (const one of [first.peer, peer]) one.cut();

  await using second = await serve([a, b]);
  const after = await second.connect(TOKEN);
  const { gateway, leaving, listeners: there } = await after.streams.get({ uid });
  assert.equal([gateway, leaving], ['b', 'a']);
  assert.is(await over(old, 'two'), 'two');
  const entry = toAddress(there[0] ?? '');
  assert.is(await exchange(entry, 'x'), 'px');
  await after.control.release({ uid });
  await gone(old);
  assert.equal(await Promise.all([a.leftovers(), b.leftovers()]), [NOTHING, NOTHING]);
});

s('without a grace period the stream leaves the old gateway immediately, open connections included', async () => {
  await using made = await site('inbound');
  await using producer = await tcpServer(named('p'));
  const stream = await made.client.up({ from: 'from', to: 'to', producer: [producer.address], movable: true });
  const old = await begin(await entryOf(stream));
  const gateway = (await stream.status()).from?.gateway as 'a' | 'b';
  await made.drain(gateway, 0);
  await gone(old);
  await eventually(async () => assert.equal(await made.leftOn(gateway), NOTHING), PATIENCE_MS);
  await stream.follow();
  assert.is(await exchange(await entryOf(stream), 'x'), 'px');
  await stream.down();
});

s.run();
