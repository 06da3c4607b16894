/** The gateway of a control server: binds listeners, watches proxies, probes, connects. */
import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { once } from 'node:events';
import { readlink } from 'node:fs/promises';
import * as assert from 'uvu/assert';
import { formatAddress } from '@scistream/core';
import { dial, eventually, exchange, named, read, tcpServer } from '@scistream/core/testing';
import { refused, type Peer } from '../../support/clients.js';
import { NOTHING } from '../../support/leftovers.js';
import { LAN, TestServer, toAddress, WAN } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('gateway');

/** States of a stream as `Watch` reports them, until it ends. */
async function watch(peer: Peer, uid: string, onState: (state: string) => void = () => undefined): Promise<string[]> {
  const states: string[] = [];
  for await (const { state } of peer.streams.watch({ uid })) {
    states.push(state);
    onState(state);
  }
  return states;
}

s('listeners bind the configured address of their side and no other, from REQ on', async () => {
  await using server = await TestServer.start({ ports: 8 });
  const { first } = server.range;
  const expected = (host: string, ports: readonly number[]): string[] => ports.map((i) => `${host}:${first + i}`);
  const uid = randomUUID();
  const req = server.peer.control.req({ uid, role: 'PROD', numConn: 3 });
  await eventually(async () => assert.equal((await server.leftovers()).listening, expected(WAN, [0, 1, 2])));
  assert.equal((await server.leftovers()).processes, [], 'no process before HELLO');
  await server.peer.control.hello({ uid });
  assert.equal((await req).listeners, expected(WAN, [0, 1, 2]));
  await server.setUp({ role: 'CONS', count: 2 });
  const { listening, processes } = await server.leftovers();
  assert.equal(listening, [...expected(WAN, [0, 1, 2]), ...expected(LAN, [3, 4])]);
  assert.is(processes.length, 2, 'one instance for each stream');
  await dial({ host: '127.0.0.1', port: first }).then(
    () => assert.unreachable('it listens on another address'),
    (error: NodeJS.ErrnoException) => assert.is(error.code, 'ECONNREFUSED'),
  );
});

s('a connection that arrives before the target is known waits for it', async () => {
  await using server = await TestServer.start();
  await using producer = await tcpServer(named('P'));
  const { uid, entry } = await server.setUp();
  const early = await dial(entry);
  early.write('early');
  await server.peer.control.update({ uid, role: 'PROD', remoteListeners: [formatAddress(producer.address)] });
  assert.is(await read(early, 6), 'Pearly');
  early.destroy();
});

s('a killed proxy is restarted; one that keeps dying fails only its stream', async () => {
  await using server = await TestServer.start();
  await using producer = await tcpServer(named('P'));
  const targets = [formatAddress(producer.address)];
  const victim = await server.setUp({ count: 2, targets });
  const [pid = 0] = (await server.leftovers()).processes;
  const other = await server.setUp({ role: 'CONS', targets });
  const [, otherDirectory] = await Promise.all(
    (await server.leftovers()).processes.map((each) => readlink(`/proc/${each}/cwd`)),
  );
  const seen: string[] = [];
  const watching = watch(server.peer, victim.uid, (state) => seen.push(state));
  await eventually(() => assert.equal(seen, ['ready']));
  process.kill(pid, 'SIGKILL');
  const again = async (): Promise<number> => {
    const found = (await processesOf(server, otherDirectory)).find((each) => each !== pid);
    assert.ok(found, 'the proxy runs again');
    return found;
  };
  let current = 0;
  await eventually(async () => {
    current = await again();
    assert.is(await exchange(victim.entry, 'x'), 'Px');
  });
  assert.not(seen.includes('failed'));
  // A proxy that dies repeatedly is given up.
  const killing = new AbortController();
  const killer = (async () => {
    while (!killing.signal.aborted) {
      const [now] = await processesOf(server, otherDirectory);
      if (now !== undefined && now !== current) process.kill((current = now), 'SIGKILL');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();
  process.kill(current, 'SIGKILL');
  await eventually(async () => assert.is(await server.stateOf(victim.uid), 'failed'), 15_000);
  killing.abort();
  await killer;
  await watching;
  assert.is(seen.at(-1), 'failed');
  const { error } = await server.peer.streams.get({ uid: victim.uid });
  assert.is(error?.code, 'SCI_PROXY_DIED');
  assert.match(error?.message ?? '', /SIGKILL/);
  await eventually(async () => {
    const { listening, processes } = await server.leftovers();
    assert.equal([listening, processes.length], [[formatAddress(other.entry)], 1]);
  });
  assert.ok(otherDirectory?.startsWith(server.state));
  const update = server.peer.control.update({ uid: victim.uid, role: 'PROD', remoteListeners: targets });
  assert.match(await refused(update, 'SCI_STREAM_STATE'), /failed/);
  const portsInUse = async (): Promise<number | undefined> =>
    (await server.peer.streams.describeServer({})).gateways[0]?.portsInUse;
  assert.is(await portsInUse(), 3, 'the failed stream keeps its ports');
  await server.peer.control.release({ uid: victim.uid });
  assert.is(await portsInUse(), 1);
  assert.is(await exchange(other.entry, 'x'), 'Px');
  const next = await server.setUp({ uid: victim.uid, count: 2, targets });
  assert.is(await exchange(next.entry, 'y'), 'Py');
  for (const uid of [other.uid, next.uid]) await server.peer.control.release({ uid });
  assert.equal(await server.leftovers(), NOTHING);
});

/** Pids of the proxies that work in another directory than `other`. */
async function processesOf(server: TestServer, other: string | undefined): Promise<readonly number[]> {
  const { processes } = await server.leftovers();
  const directories = await Promise.all(processes.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => other)));
  return processes.filter((_, i) => directories[i] !== other);
}

s('Watch reports every state in order', async () => {
  await using server = await TestServer.start();
  await using producer = await tcpServer(named('P'));
  const { control } = server.peer;
  const uid = randomUUID();
  const req = control.req({ uid, role: 'PROD', numConn: 1 });
  await eventually(async () => assert.is(await server.stateOf(uid), 'waiting'));
  const seen: string[] = [];
  const watching = watch(server.peer, uid, (state) => seen.push(state));
  await eventually(() => assert.equal(seen, ['waiting']));
  await control.hello({ uid });
  const { listeners } = await req;
  await control.update({ uid, role: 'PROD', remoteListeners: [formatAddress(producer.address)] });
  await eventually(() => assert.is(seen.at(-1), 'ready'));
  const client = await dial(toAddress(listeners[0] ?? ''));
  await eventually(() => assert.is(seen.at(-1), 'streaming'));
  client.destroy();
  await eventually(() => assert.is(seen.at(-1), 'idle'));
  await control.release({ uid });
  const all = await watching;
  assert.equal(
    all.filter((state) => state !== 'releasing'),
    ['waiting', 'ready', 'streaming', 'idle', 'released'],
  );
  assert.equal(await watch(server.peer, uid), ['released'], 'once, for a stream that has ended');
});

s('List shows active streams, oldest first, and ended ones on request', async () => {
  await using server = await TestServer.start();
  const uids = [randomUUID(), randomUUID(), randomUUID()];
  for (const uid of uids) await server.setUp({ uid });
  const list = async (ended: boolean): Promise<string[]> =>
    (await server.peer.streams.list({ ended })).streams.map(({ uid }) => uid);
  assert.equal(await list(false), uids);
  const [first = ''] = uids;
  await server.peer.control.release({ uid: first });
  assert.equal([await list(false), await list(true)], [uids.slice(1), uids]);
  const { streams, gateways } = await server.peer.streams.describeServer({});
  assert.equal([streams, gateways[0]?.portsInUse], [2, 2]);
});

s('a probe proves the way between two gateways without touching the producer', async () => {
  await using inbound = await TestServer.start();
  await using outbound = await TestServer.start();
  await using producer = await tcpServer(named('P'));
  const prod = await inbound.setUp({ targets: [formatAddress(producer.address)] });
  const cons = await outbound.setUp({ role: 'CONS', targets: [formatAddress(prod.entry)] });
  const { address, challenge } = await inbound.peer.streams.openProbe({ uid: prod.uid });
  const { host, port } = toAddress(address);
  assert.is(host, WAN);
  assert.ok(port >= inbound.range.first && port <= inbound.range.last && port !== prod.entry.port);
  const run = (given: string, at = address): Promise<{ readonly roundTripUs: bigint }> =>
    outbound.peer.streams.runProbe({ uid: cons.uid, address: at, challenge: given });
  await refused(run(`${'0'.repeat(32)}${challenge.slice(32)}`), 'SCI_VERIFY_FAILED');
  await refused(run('0'.repeat(63)), 'SCI_USAGE');
  await refused(run(challenge, `${LAN}:${port}`), 'SCI_FORBIDDEN');
  await refused(run(challenge, `localhost:${port}`), 'SCI_FORBIDDEN');
  await refused(run(challenge, 'nonsense'), 'SCI_ADDRESS_INVALID');
  const { roundTripUs } = await run(challenge);
  assert.ok(roundTripUs > 0n && roundTripUs < 1_000_000n, `${roundTripUs} µs`);
  // It answers once, and then the port is free again.
  await eventually(async () => assert.equal((await inbound.leftovers()).listening, [formatAddress(prod.entry)]));
  await refused(run(challenge), 'SCI_VERIFY_FAILED');
  assert.is(producer.accepted, 0);
  // Another program that answers on that port cannot know the second half.
  await using impostor = await tcpServer(named('x'), WAN);
  await refused(run(challenge, formatAddress(impostor.address)), 'SCI_VERIFY_FAILED');
});

s('a probe port reveals nothing to strangers, and closes with its stream', async () => {
  await using server = await TestServer.start({ ports: 3 });
  const { uid } = await server.setUp();
  const { address, challenge } = await server.peer.streams.openProbe({ uid });
  const stranger = connect(toAddress(address));
  const said: Buffer[] = [];
  stranger.on('data', (chunk: Buffer) => said.push(chunk));
  stranger.write(challenge.slice(32));
  await once(stranger, 'close');
  assert.equal(said, []);
  await server.peer.streams.openProbe({ uid });
  await refused(server.peer.streams.openProbe({ uid }), 'SCI_PORTS_EXHAUSTED');
  await server.peer.control.release({ uid });
  assert.equal(await server.leftovers(), NOTHING);
  await server.setUp({ count: 3 });
});

s('ConnectTargets reports whether each target accepts; ConnectListener uses the whole chain', async () => {
  await using server = await TestServer.start();
  await using producer = await tcpServer(named('P'));
  const up = formatAddress(producer.address);
  const { uid, entry } = await server.setUp({ count: 3, targets: [up, `127.0.0.1:${server.range.last}`] });
  const { results } = await server.peer.streams.connectTargets({ uid });
  assert.equal(
    results.map(({ address, connected, error }) => [address, connected, error === '']),
    [
      [up, true, true],
      [`127.0.0.1:${server.range.last}`, false, false],
    ],
  );
  await eventually(() => assert.is(producer.accepted, 1));
  const through = await server.peer.streams.connectListener({ uid, holdMs: 200n });
  assert.equal(
    through.results.map(({ address, connected }) => [address, connected]),
    [[formatAddress(entry), true]],
  );
  assert.is(producer.accepted, 2, 'the connection reached the producer while it was held');
});

s('UDP goes through the relay, and TCP and UDP ports are leased alike', async () => {
  await using server = await TestServer.start({ ports: 2 });
  const uid = randomUUID();
  const req = server.peer.control.req({ uid, role: 'PROD', numConn: 2, transport: 'udp' });
  await server.peer.control.hello({ uid });
  const { stream } = await req;
  assert.equal([stream?.transport, stream?.listeners.length], ['udp', 2]);
  assert.equal((await server.leftovers()).listening, []);
  await refused(server.peer.control.req({ uid: randomUUID(), role: 'PROD', numConn: 1 }), 'SCI_PORTS_EXHAUSTED');
  await server.peer.control.release({ uid });
  await server.setUp({ count: 2 });
});

s.run();
