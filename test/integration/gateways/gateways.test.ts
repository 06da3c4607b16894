/** Several gateways under one control server: placement, rejections, and data servers that stop and return. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { formatAddress, silentLogger, systemCode } from '@scistream/core';
import { createProviders, LocalGateway } from '@scistream/core/internal';
import { eventually, exchange, named, tcpServer, temporaryDirectory, testSpec } from '@scistream/core/testing';
import { refused, type Peer } from '../../support/clients.js';
import { startGateway, PORTS, type GatewaySite } from '../../support/gateways.js';
import { NOTHING } from '../../support/leftovers.js';
import { freeRange } from '../../support/ports.js';
import { LAN, TestServer, WAN, type ServerOptions } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('several gateways');

const PATIENCE_MS = 60_000;
const TOKENS = { user: 'token-of-a-user', eve: 'token-of-eve', admin: 'token-of-an-admin' };
const AUTH = [
  {
    use: 'token',
    tokens: Object.entries(TOKENS).map(([subject, token]) => ({
      subject,
      sha256: createHash('sha256').update(token).digest('hex'),
      admin: subject === 'admin',
    })),
  },
];

const serve = (sites: readonly GatewaySite[], options: ServerOptions = {}): Promise<TestServer> =>
  TestServer.start({ gateways: sites.map(({ entry }) => entry), ...options });

/** REQ and HELLO. @returns The name of the gateway. */
async function place(peer: Peer, wish: { gateway?: string; bitsPerSecond?: bigint; numConn?: number } = {}) {
  const uid = randomUUID();
  const [{ stream }] = await Promise.all([
    peer.control.req({ uid, role: 'PROD', numConn: 1, ...wish }),
    peer.control.hello({ uid, role: 'PROD' }),
  ]);
  return { uid, gateway: stream?.gateway ?? '' };
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    assert.is(systemCode(error), 'ESRCH');
  }
}

const failure = (promise: Promise<unknown>): Promise<string> => promise.then(() => 'none', String);

const seen = async ({ streams }: Peer) =>
  (await streams.describeServer({})).gateways.map(({ name, up, drained, streams: count }) => [
    name,
    up,
    drained,
    count,
  ]);

s('a stream is placed where most bandwidth is free, then where most ports are, or as requested', async () => {
  await using a = await startGateway('a', { capacity: 10e9, labels: ['dtn', '100g'] });
  await using b = await startGateway('b', { capacity: 20e9 });
  await Promise.all([a.start(), b.start()]);
  await using server = await serve([a, b]);
  const { peer } = server;
  const first = await place(peer, { bitsPerSecond: BigInt(15e9) });
  assert.is(first.gateway, 'b');
  assert.is((await place(peer, { bitsPerSecond: BigInt(5e9) })).gateway, 'a');
  // 5 Gb/s are free on both, and as many ports.
  assert.is((await place(peer, { gateway: 'b' })).gateway, 'b');
  assert.is((await place(peer)).gateway, 'a', 'b has one port less');
  const text = await refused(place(peer, { bitsPerSecond: BigInt(6e9) }), 'SCI_NO_RESOURCE');
  assert.match(
    text,
    'No eligible gateway has 6 Gb/s available: a has 5 Gb/s of 10 Gb/s free, b has 5 Gb/s of 20 Gb/s free',
  );
  assert.match(text, /ends at 20\d\d-.*Z at the latest/);
  await peer.control.release({ uid: first.uid });
  assert.is((await place(peer, { bitsPerSecond: BigInt(6e9) })).gateway, 'b');
  await refused(place(peer, { gateway: 'c' }), 'SCI_NAME_INVALID');
  const [one] = (await peer.streams.describeServer({})).gateways;
  assert.equal(one?.labels, ['dtn', '100g']);
  assert.equal(
    [one?.portsInUse, one?.portsTotal, one?.capacity, one?.capacityInUse],
    [2, 4, 10_000_000_000n, 5_000_000_000n],
  );
});

s('a label selects all gateways that have it; only a name selects a gateway to drain', async () => {
  await using a = await startGateway('a', { labels: ['dtn'] });
  await using b = await startGateway('b', { labels: ['dtn', '100g'] });
  await using c = await startGateway('c');
  await Promise.all([a.start(), b.start(), c.start()]);
  await using server = await serve([a, b, c], { auth: AUTH });
  const peer = await server.connect(TOKENS.admin);
  const placed = async (gateway: string): Promise<string> => (await place(peer, { gateway })).gateway;
  assert.equal([await placed('dtn'), await placed('dtn'), await placed('100g')], ['a', 'b', 'b']);
  await peer.streams.drainGateway({ name: 'b', drained: true });
  assert.match(await refused(place(peer, { gateway: '100g' }), 'SCI_NO_RESOURCE'), 'b is drained');
  assert.is(await placed('dtn'), 'a');
  assert.match(
    await refused(place(peer, { gateway: '10g' }), 'SCI_NAME_INVALID'),
    'No gateway has the name or label "10g"',
  );
  await refused(peer.streams.drainGateway({ name: 'dtn', drained: true }), 'SCI_NAME_INVALID');
});

s('concurrent requests fill all gateways, and no more than their ports', async () => {
  await using a = await startGateway('a');
  await using b = await startGateway('b');
  await Promise.all([a.start(), b.start()]);
  await using server = await serve([a, b]);
  const made = await Promise.all(Array.from({ length: 2 * PORTS }, () => place(server.peer)));
  assert.equal(made.map(({ gateway }) => gateway).sort(), [...'aaaabbbb']);
  await refused(place(server.peer), 'SCI_PORTS_EXHAUSTED');
  for (const { uid } of made) await server.peer.control.release({ uid });
  assert.equal([await a.leftovers(), await b.leftovers()], [NOTHING, NOTHING]);
});

s('restarts and failures of proxies are reported after the data server was stopped and started', async () => {
  await using a = await startGateway('a');
  await a.start();
  await using server = await serve([a]);
  const { peer } = server;
  const streams = await Promise.all(Array.from({ length: PORTS }, () => place(peer)));
  for (const round of [1, 2]) {
    await a.stop();
    await a.start();
    for (const pid of (await a.leftovers()).processes) process.kill(pid, 'SIGKILL');
    await eventually(async () => {
      for (const { uid } of streams) {
        const { events } = await peer.streams.events({ uid });
        assert.is(events.filter(({ what }) => what === 'restarted').length, round, uid);
      }
    }, 60_000);
  }
  await a.stop();
  await a.start();
  const killing = new AbortController();
  const killer = (async () => {
    while (!killing.signal.aborted) {
      // A process may have ended since.
      for (const pid of (await a.leftovers()).processes) kill(pid);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();
  for (const { uid } of streams) await eventually(async () => assert.is(await server.stateOf(uid), 'failed'), 60_000);
  killing.abort();
  await killer;
});

s('a drained gateway takes no new streams, even after a restart; only admins drain', async () => {
  await using a = await startGateway('a');
  await using b = await startGateway('b');
  await Promise.all([a.start(), b.start()]);
  await using directory = await temporaryDirectory();
  const options = { state: directory.path, auth: AUTH };
  await using target = await tcpServer(named('t'));
  const first = await serve([a, b], options);
  const user = await first.connect(TOKENS.user);
  const admin = await first.connect(TOKENS.admin);
  const { uid, entry } = await first.setUp({ peer: user, targets: [formatAddress(target.address)] });
  await refused(user.streams.drainGateway({ name: 'a', drained: true }), 'SCI_FORBIDDEN');
  await refused(admin.streams.drainGateway({ name: 'c', drained: true }), 'SCI_NAME_INVALID');
  const drained = await admin.streams.drainGateway({ name: 'a', drained: true });
  assert.equal([drained.drained, drained.streams], [true, 1]);
  assert.is((await place(user)).gateway, 'b');
  assert.match(await refused(place(user, { gateway: 'a' }), 'SCI_NO_RESOURCE'), 'a is drained');
  assert.is(await exchange(entry, 'x'), 'tx');
  await first.server.stop();
  for (const peer of [first.peer, user, admin]) peer.cut();

  await using second = await serve([a, b], options);
  const again = await second.connect(TOKENS.user);
  assert.equal(await seen(again), [
    ['a', true, true, 1],
    ['b', true, false, 1],
  ]);
  assert.is((await place(again)).gateway, 'b');
  await again.control.release({ uid });
  await (await second.connect(TOKENS.admin)).streams.drainGateway({ name: 'a', drained: false });
  assert.is((await place(again)).gateway, 'a');
});

s('a drain state that cannot be stored is not in force', async () => {
  await using a = await startGateway('a');
  await a.start();
  await using directory = await temporaryDirectory();
  await using server = await serve([a], { state: directory.path, auth: AUTH });
  const admin = await server.connect(TOKENS.admin);
  await mkdir(join(directory.path, 'gateways.json'));
  await refused(admin.streams.drainGateway({ name: 'a', drained: true }), 'SCI_STATE_WRITE');
  assert.equal(await seen(admin), [['a', true, false, 0]]);
  assert.is((await place(admin)).gateway, 'a');
});

s('a data server may be down at the start and later; its streams stay', async () => {
  await using a = await startGateway('a');
  await using b = await startGateway('b');
  await b.start();
  await using server = await serve([a, b]);
  const { peer } = server;
  await using target = await tcpServer(named('t'));
  const [down] = (await peer.streams.describeServer({})).gateways;
  assert.equal([down?.up, down?.error?.code], [false, 'SCI_S2DS_UNREACHABLE']);
  assert.is((await place(peer)).gateway, 'b');
  await refused(place(peer, { gateway: 'a' }), 'SCI_S2DS_UNREACHABLE');
  await a.start();
  await eventually(async () => assert.equal((await seen(peer))[0], ['a', true, false, 0]), PATIENCE_MS);
  const { uid, entry } = await server.setUp({ targets: [formatAddress(target.address)] });
  assert.is((await peer.streams.get({ uid })).gateway, 'a');

  await a.stop();
  await eventually(async () => assert.equal((await seen(peer))[0], ['a', false, false, 1]), PATIENCE_MS);
  const { state, error } = await peer.streams.get({ uid });
  assert.equal([state, error?.code], ['ready', 'SCI_S2DS_UNREACHABLE']);
  assert.is(await exchange(entry, 'x'), 'tx');
  assert.is((await place(peer)).gateway, 'b');
  await a.start();
  await eventually(async () => assert.equal((await seen(peer))[0], ['a', true, false, 1]), PATIENCE_MS);
  assert.is(await exchange(entry, 'y'), 'ty');
  await eventually(async () => assert.is(await server.stateOf(uid), 'idle'), PATIENCE_MS);
  await peer.control.release({ uid });
  assert.equal(await a.leftovers(), NOTHING);
  const changes = server.log.lines.filter(
    ({ fields, message }) => fields.gateway === 'a' && /is (up|down)/.test(message),
  );
  assert.equal(
    changes.map(({ message }) => message),
    ['gateway is down', 'gateway is up', 'gateway is down', 'gateway is up'],
  );
});

s('a data server accepts the control server that came first, until it is told to forget it', async () => {
  await using a = await startGateway('a');
  await a.start();
  await using first = await serve([a]);
  const { uid } = await first.setUp();
  await using second = await serve([a]);
  const [refusing] = (await second.peer.streams.describeServer({})).gateways;
  assert.equal([refusing?.up, refusing?.error?.code], [false, 'SCI_FORBIDDEN']);
  assert.match(String(refusing?.error?.suggestions), join(a.state, 's2cs'));
  await refused(place(second.peer), 'SCI_FORBIDDEN');
  assert.is(await first.stateOf(uid), 'waiting');
  await first.peer.control.release({ uid });
  await rm(join(a.state, 's2cs'));
  await eventually(async () => assert.equal((await seen(second.peer))[0], ['a', true, false, 0]), PATIENCE_MS);
  assert.is((await place(second.peer)).gateway, 'a');
});

s('policy refusals are returned before capacity is checked', async () => {
  await using a = await startGateway('a', { capacity: 1e9 });
  await using away = await startGateway('away');
  await a.start();
  await using directory = await temporaryDirectory();
  const policy = join(directory.path, 'policy.yaml');
  const mine = { who: { identities: ['token:user'] }, encryption: ['none'], proxies: ['relay'] };
  const hers = { who: { identities: ['token:eve'] }, encryption: ['none'], proxies: ['haproxy'], roles: ['CONS'] };
  await writeFile(policy, JSON.stringify({ rules: [mine, hers] }));
  await using server = await serve([a, away], { auth: AUTH, policy });
  const user = await server.connect(TOKENS.user);
  const eve = await server.connect(TOKENS.eve);
  const admin = await server.connect(TOKENS.admin);
  const wishes = [
    [{ gateway: 'a', bitsPerSecond: BigInt(2e9) }, 'SCI_NO_RESOURCE'],
    [{ gateway: 'away' }, 'SCI_S2DS_UNREACHABLE'],
    [{ bitsPerSecond: BigInt(2e9) }, undefined],
  ] as const;
  const ask = (peer: Peer, wish: object) => peer.control.req({ uid: randomUUID(), role: 'PROD', numConn: 1, ...wish });
  const told = new Set<string>();
  for (const [wish, code] of wishes) {
    if (code) await refused(ask(user, wish), code);
    told.add(await refused(ask(eve, wish), 'SCI_FORBIDDEN'));
    // An admin without a rule.
    told.add(await refused(ask(admin, wish), 'SCI_FORBIDDEN'));
  }
  assert.equal([...told].sort(), ['No rule applies to token:admin.', 'Rule rules.1 does not allow role inbound.']);
});

s('a repeated reservation gets the same answer, a different one with the same uid is rejected', async () => {
  await using directory = await temporaryDirectory();
  const settings = { name: 'a', wan: WAN, lan: LAN, ports: await freeRange(PORTS), proxy: 'relay', runtime: 'process' };
  const providers = createProviders([], { proxies: {}, runtimes: {}, plugins: [] });
  const gateway = new LocalGateway(settings, providers, silentLogger, directory.path);
  await gateway.open();
  const spec = { ...testSpec, connections: 2 };
  const uid = randomUUID();
  const [one, two] = await Promise.all([gateway.reserve(uid, spec), gateway.reserve(uid, spec)]);
  assert.equal(one, two);
  assert.equal(await gateway.reserve(uid, spec), one);
  assert.is((await gateway.describe()).portsInUse, 2);
  const other = await failure(gateway.reserve(uid, testSpec));
  assert.match(other, `a different stream ${uid}`);
  // The answer was lost, and its release arrives before it is complete.
  const late = gateway.reserve(randomUUID(), testSpec);
  await gateway.release(uid);
  await late;
  assert.is((await gateway.describe()).portsInUse, 1);
  await gateway.releaseAll();
  await gateway.close();
});

s('removing a gateway from the configuration must not lose its streams', async () => {
  await using a = await startGateway('a');
  await using b = await startGateway('b');
  await using c = await startGateway('c');
  await Promise.all([a.start(), b.start(), c.start()]);
  await using directory = await temporaryDirectory();
  const options = { state: directory.path };
  const first = await serve([a, b], options);
  await place(first.peer, { gateway: 'a' });
  await first.server.stop();
  first.peer.cut();
  const error = await failure(serve([b, c], options));
  assert.match(error, 'gateway a is missing but has streams');
  await using again = await serve([a, b], options);
  assert.equal((await seen(again.peer))[0], ['a', true, false, 1]);
});

s.run();
