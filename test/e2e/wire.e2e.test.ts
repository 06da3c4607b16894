// needs: python3-grpc
/** Two control servers as operators run them, and a client like the existing Python programs. */
import { randomUUID } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress } from '@scistream/core';
import { dial, exchange, named, read, receiveAll, sendRandom, tcpServer } from '@scistream/core/testing';
import { Daemon } from '../support/daemon.js';
import { NOTHING } from '../support/leftovers.js';
import { PythonClient, type Answer, type SetUpAnswer } from '../support/python-client.js';
import { toAddress } from '../support/server.js';

const s = suite('wire, with a Python client');

const BYTES = 32 * 1024 * 1024;
const NONE: readonly string[] = [];

interface Facilities extends AsyncDisposable {
  readonly prod: Daemon;
  readonly cons: Daemon;
  readonly python: PythonClient;
}

/** A producer's and a consumer's facility, and a client that knows both. */
async function facilities(): Promise<Facilities> {
  const prod = await Daemon.start({ facility: 'aps', wan: '127.0.0.2', lan: '127.0.0.3' });
  const cons = await Daemon.start({ facility: 'alcf', wan: '127.0.0.4', lan: '127.0.0.5' });
  const python = await PythonClient.start({ prod, cons });
  const dispose = async (): Promise<void> => {
    await python[Symbol.asyncDispose]();
    await Promise.all([prod[Symbol.asyncDispose](), cons[Symbol.asyncDispose]()]);
  };
  return { prod, cons, python, [Symbol.asyncDispose]: dispose };
}

const role = (server: string): string => (server === 'prod' ? 'PROD' : 'CONS');

async function update(python: PythonClient, server: string, uid: string, targets: readonly string[]): Promise<Answer> {
  const answer = await python.ask({ op: 'update', server, uid, remote_listeners: targets, role: role(server) });
  assert.is(answer.error, undefined, answer.details);
  return answer;
}

s('the legacy set-up carries data both ways, a second UPDATE retargets, RELEASE leaves nothing', async () => {
  await using both = await facilities();
  const { python, prod, cons } = both;
  await using first = await tcpServer(named('1'));
  await using second = await tcpServer(named('2'));
  await using sink = await tcpServer((socket) => {
    void receiveAll(socket).then(({ sha256 }) => socket.end(sha256));
  });
  const uid = randomUUID();
  const inbound = await python.ask<SetUpAnswer>({
    op: 'setup',
    server: 'prod',
    uid,
    role: 'PROD',
    prod_listeners: [formatAddress(first.address)],
  });
  assert.equal([inbound.req.listeners.length, inbound.hello.listeners], [5, []]);
  assert.equal(inbound.req.prod_listeners, [formatAddress(first.address)]);
  assert.ok(inbound.req.listeners.every((listener) => listener.startsWith('127.0.0.2:')));
  assert.ok(inbound.seconds >= 0.5, 'req waited for HELLO');
  const outbound = await python.ask<SetUpAnswer>({ op: 'setup', server: 'cons', uid, role: 'CONS' });
  assert.equal([outbound.req.listeners.length, outbound.req.prod_listeners], [5, []]);
  assert.equal(outbound.hello.listeners, outbound.req.listeners);
  assert.ok(outbound.req.listeners.every((listener) => listener.startsWith('127.0.0.5:')));
  const updated = await update(python, 'prod', uid, [formatAddress(first.address)]);
  assert.equal(updated.listeners, inbound.req.listeners);
  assert.equal(
    updated.prod_listeners,
    inbound.req.listeners.map(() => formatAddress(first.address)),
  );
  await update(python, 'cons', uid, inbound.req.listeners);
  const entries = outbound.req.listeners.map(toAddress);
  for (const entry of entries) assert.is(await exchange(entry, 'data'), '1data');
  const [entry] = entries;
  assert.ok(entry);
  const inFlight = await dial(entry);
  assert.is(await read(inFlight, 1), '1');
  await update(python, 'prod', uid, [formatAddress(second.address)]);
  assert.is(await exchange(entry, 'data'), '2data');
  inFlight.write('old');
  assert.is(await read(inFlight, 3), 'old');
  inFlight.destroy();
  await update(python, 'prod', uid, [formatAddress(sink.address)]);
  const client = await dial(entry);
  const sent = await sendRandom(client, BYTES);
  assert.is(await read(client, 64), sent.sha256, `${BYTES} bytes through both gateways`);
  client.destroy();
  for (const server of ['prod', 'cons']) {
    assert.equal(await python.ask({ op: 'release', server, uid }), { listeners: [], prod_listeners: [] });
  }
  assert.equal([await prod.leftovers(), await cons.leftovers()], [NOTHING, NOTHING]);
});

s('two set-ups that interleave in every step are never mixed up', async () => {
  await using both = await facilities();
  const { python } = both;
  await using a = await tcpServer(named('A'));
  await using b = await tcpServer(named('B'));
  const made = [
    { uid: randomUUID(), producer: formatAddress(a.address), name: 'A', prod: NONE, cons: NONE },
    { uid: randomUUID(), producer: formatAddress(b.address), name: 'B', prod: NONE, cons: NONE },
  ];
  for (const server of ['prod', 'cons'] as const) {
    for (const { uid } of made) await python.ask({ op: 'begin', server, uid, role: role(server), num_conn: 2 });
    // In another order than the requests, with the answers interleaved as well.
    for (const { uid, producer } of [...made].reverse()) {
      const announced = server === 'prod' ? [producer] : [];
      assert.is((await python.ask({ op: 'hello', server, uid, prod_listeners: announced })).error, undefined);
    }
    for (const stream of made) {
      const { listeners, prod_listeners } = await python.ask({ op: 'end', uid: stream.uid });
      assert.equal(prod_listeners, server === 'prod' ? [stream.producer] : []);
      stream[server] = listeners;
    }
  }
  assert.is(new Set(made.flatMap(({ prod }) => prod)).size, 4);
  for (const { uid, prod } of [...made].reverse()) await update(python, 'cons', uid, prod);
  for (const { uid, producer } of made) await update(python, 'prod', uid, [producer]);
  for (let round = 0; round < 5; round += 1) {
    const answers = made.flatMap(({ cons, name }) =>
      cons.map(async (entry) => assert.is(await exchange(toAddress(entry), name), `${name}${name}`)),
    );
    await Promise.all(answers);
  }
  const [one, other] = made;
  assert.ok(one && other);
  for (const server of ['prod', 'cons']) await python.ask({ op: 'release', server, uid: one.uid });
  for (const entry of other.cons) assert.is(await exchange(toAddress(entry), 'x'), 'Bx', 'the other one continues');
});

s('300 requests at the same time: each gets its own answer and its own listener', async () => {
  const COUNT = 300;
  await using server = await Daemon.start({ ports: COUNT });
  await using python = await PythonClient.start({ server });
  const announced = Object.fromEntries(
    Array.from({ length: COUNT }, (_, i) => [randomUUID(), [`10.${i >> 8}.${i & 255}.1:5001`, `10.0.0.1:${1000 + i}`]]),
  );
  const results = await python.ask<Record<string, SetUpAnswer>>({ op: 'many', server: 'server', announced });
  const listeners = new Set<string>();
  for (const [uid, own] of Object.entries(announced)) {
    const { req, hello } = results[uid] ?? {};
    const errors = [req?.error, req?.details, hello?.error, hello?.details].filter((text) => text !== undefined);
    assert.equal(errors, [], uid);
    assert.equal([req?.prod_listeners, req?.listeners.length], [own, 1]);
    for (const listener of req?.listeners ?? []) listeners.add(listener);
  }
  assert.is(listeners.size, COUNT);
  assert.equal((await server.leftovers()).listening, [...listeners].sort());
  assert.is(await server.stop(), 0);
  assert.equal(await server.leftovers(), NOTHING, 'SIGTERM releases all of them');
});

s('errors carry the status of the protocol, a sentence, and our code in the trailing metadata', async () => {
  await using server = await Daemon.start({ ports: 4, config: { limits: { helloTimeout: '1s' } } });
  await using python = await PythonClient.start({ server });
  const ask = (command: { op: string; [key: string]: unknown }): Promise<Answer> =>
    python.ask({ server: 'server', ...command });
  const uid = randomUUID();
  const cases = [
    [{ op: 'release', uid }, 'NOT_FOUND', 'SCI_STREAM_NOT_FOUND'],
    [{ op: 'release', uid: 'x' }, 'INVALID_ARGUMENT', 'SCI_UID_INVALID'],
    [{ op: 'update', uid, remote_listeners: ['abc'], role: 'PROD' }, 'INVALID_ARGUMENT', 'SCI_ADDRESS_INVALID'],
  ] as const;
  for (const [command, status, code] of cases) {
    const { error, details, trailing } = await ask(command);
    assert.equal([error, trailing?.['scistream-code']], [status, code]);
    assert.match(details ?? '', /\.$/);
  }
  for (const [fields, status, code] of [
    [{ role: 'PROD', num_conn: -1 }, 'INVALID_ARGUMENT', 'SCI_CONNECTIONS_INVALID'],
    [{ role: 'prod', num_conn: 1 }, 'INVALID_ARGUMENT', 'SCI_ROLE_INVALID'],
    [{ role: 'PROD', num_conn: 5 }, 'RESOURCE_EXHAUSTED', 'SCI_PORTS_EXHAUSTED'],
    [{ role: 'PROD', num_conn: 4 }, 'DEADLINE_EXCEEDED', 'SCI_HELLO_TIMEOUT'],
  ] as const) {
    const own = randomUUID();
    await ask({ op: 'begin', uid: own, ...fields });
    const { error, trailing } = await ask({ op: 'end', uid: own });
    assert.equal([error, trailing?.['scistream-code']], [status, code]);
  }
  const rejected = await python.ask<SetUpAnswer>({
    op: 'setup',
    server: 'server',
    uid: randomUUID(),
    role: 'PROD',
    num_conn: 1,
    prod_listeners: ['10.0.0.1:99999'],
  });
  assert.ok(rejected.req.error, 'a client without a deadline would hang forever');
  assert.ok(rejected.hello.error);
  await using other = await Daemon.start({ facility: 'alcf' });
  await ask({ op: 'connect', server: 'impostor', address: server.address, certificate: other.certificate });
  assert.is((await ask({ op: 'release', server: 'impostor', uid })).error, 'UNAVAILABLE', 'TLS is checked');
  assert.equal(await server.leftovers(), NOTHING);
});

s.run();
