/** Admission of REQ: values, limits and ports. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import * as assert from 'uvu/assert';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ErrorCode } from '@scistream/core';
import { eventually } from '@scistream/core/testing';
import type { RequestSchema } from '@scistream/core/wire';
import { refused } from '../../support/clients.js';
import { NOTHING } from '../../support/leftovers.js';
import { GATEWAY, TestServer, WAN } from '../../support/server.js';
import { suite } from '../../support/suite.js';

type Wish = MessageInitShape<typeof RequestSchema>;

const s = suite('admission');

const MOST = 2n ** 64n - 1n;

s('a REQ with a wrong value is rejected immediately and reserves nothing', async () => {
  await using server = await TestServer.start();
  const cases: readonly (readonly [Wish, ErrorCode, RegExp?])[] = [
    [{ numConn: 0 }, 'SCI_CONNECTIONS_INVALID', /^0 /],
    [{ numConn: -1 }, 'SCI_CONNECTIONS_INVALID', /^-1 /],
    [{ numConn: 1025 }, 'SCI_CONNECTIONS_INVALID', /^1025 /],
    [{ numConn: 100_000 }, 'SCI_CONNECTIONS_INVALID', /^100000 /],
    [{ uid: '' }, 'SCI_UID_INVALID'],
    [{ uid: '1234567' }, 'SCI_UID_INVALID', /1234567/],
    [{ uid: 'a'.repeat(65) }, 'SCI_UID_INVALID'],
    [{ uid: '../../../etc' }, 'SCI_UID_INVALID'],
    [{ uid: 'has space' }, 'SCI_UID_INVALID'],
    [{ uid: 'new-line\n' }, 'SCI_UID_INVALID'],
    [{ uid: 'under_score' }, 'SCI_UID_INVALID'],
    [{ uid: 'ümlaut-äöü' }, 'SCI_UID_INVALID'],
    [{ role: '' }, 'SCI_ROLE_INVALID'],
    [{ role: 'prod' }, 'SCI_ROLE_INVALID', /"prod"/],
    [{ role: 'PROD ' }, 'SCI_ROLE_INVALID'],
    [{ role: 'BOTH' }, 'SCI_ROLE_INVALID'],
    [{ name: '-tomo' }, 'SCI_NAME_INVALID'],
    [{ name: 'a b' }, 'SCI_NAME_INVALID'],
    [{ name: 'x\ny' }, 'SCI_NAME_INVALID'],
    [{ name: 'n'.repeat(65) }, 'SCI_NAME_INVALID'],
    [{ proxy: 'squid' }, 'SCI_PROXY_UNKNOWN', /squid/],
    [{ proxy: 'constructor' }, 'SCI_PROXY_UNKNOWN'],
    [{ proxy: '../relay' }, 'SCI_NAME_INVALID'],
    [{ runtime: 'lxc' }, 'SCI_RUNTIME_UNKNOWN', /lxc/],
    [{ gateway: 'dtn2' }, 'SCI_NAME_INVALID', /dtn2/],
    [{ transport: 'sctp' }, 'SCI_USAGE', /sctp/],
    [{ lifetimeMs: 86_400_001n }, 'SCI_LIFETIME_INVALID'],
    [{ lifetimeMs: MOST }, 'SCI_LIFETIME_INVALID'],
    [{ bitsPerSecond: MOST }, 'SCI_RATE_INVALID'],
  ];
  for (const [wish, code, says] of cases) {
    const call = server.peer.control.req({ uid: randomUUID(), role: 'PROD', numConn: 1, rate: 1, ...wish });
    const message = await refused(call, code);
    if (says) assert.match(message, says);
    assert.not.match(message, /\n/);
  }
  const { streams, waiting, gateways } = await server.peer.streams.describeServer({});
  assert.equal({ streams, waiting, ports: gateways[0]?.portsInUse }, { streams: 0, waiting: 0, ports: 0 });
  assert.equal(await server.leftovers(), NOTHING);
});

s('names of the Python program, in any letter case, with every field set', async () => {
  await using server = await TestServer.start();
  for (const proxy of ['S2DS', 's2ds', 'Relay']) {
    const uid = randomUUID();
    const wish = { uid, role: 'PROD', numConn: 1, proxy, runtime: 'Process', gateway: GATEWAY, transport: 'tcp' };
    const req = server.peer.control.req({ ...wish, bitsPerSecond: 20_000_000_000n, name: 'tomo.1' });
    await server.peer.control.hello({ uid });
    const { stream } = await req;
    assert.equal([stream?.proxy, stream?.runtime, stream?.bitsPerSecond], ['relay', 'process', 20_000_000_000n]);
    assert.is(stream?.rateEnforced, false, 'the relay enforces no rate and says so');
  }
});

s('an unknown uid is rejected by every call, and a malformed one before the lookup', async () => {
  await using server = await TestServer.start();
  const { control, streams } = server.peer;
  for (const [uid, code] of [
    [randomUUID(), 'SCI_STREAM_NOT_FOUND'],
    ['short', 'SCI_UID_INVALID'],
    ['%s%n/../..', 'SCI_UID_INVALID'],
  ] as const) {
    await refused(control.update({ uid, role: 'PROD', remoteListeners: ['127.0.0.1:9'] }), code);
    await refused(control.release({ uid }), code);
    await refused(streams.get({ uid }), code);
    await refused(streams.watch({ uid })[Symbol.asyncIterator]().next(), code);
    await refused(streams.openProbe({ uid }), code);
    await refused(streams.runProbe({ uid, address: '127.0.0.1:9', challenge: '0'.repeat(64) }), code);
    await refused(streams.connectTargets({ uid }), code);
    await refused(streams.connectListener({ uid }), code);
  }
  await refused(control.hello({ uid: 'short' }), 'SCI_UID_INVALID');
});

s('a range with too few ports reports how many are taken, and returns what it had', async () => {
  await using server = await TestServer.start({ ports: 6 });
  const { first, last } = server.range;
  const stranger = createServer().listen({ host: '0.0.0.0', port: first + 3 });
  await once(stranger, 'listening');
  try {
    const { uid, listeners } = await server.setUp({ count: 2 });
    const { control } = server.peer;
    const message = await refused(control.req({ uid: randomUUID(), role: 'PROD', numConn: 4 }), 'SCI_PORTS_EXHAUSTED');
    assert.match(message, /^4 ports /);
    assert.ok(message.includes(`${first}-${last}, streams lease 2 and other programs use 1.`), message);
    const rest = await server.setUp({ count: 3, role: 'CONS' });
    const ports = [...listeners, ...rest.listeners].map(({ port }) => port).sort();
    assert.equal(
      ports,
      [0, 1, 2, 4, 5].map((i) => first + i),
    );
    await control.release({ uid });
    const { listeners: again } = await server.setUp({ count: 2 });
    assert.equal(again.map(({ port }) => port).sort(), listeners.map(({ port }) => port).sort());
  } finally {
    stranger.close();
  }
});

s('a port in use by another program, on any address, is skipped and never assigned', async () => {
  await using server = await TestServer.start({ ports: 3 });
  const { first } = server.range;
  const strangers = [
    createServer().listen({ host: '0.0.0.0', port: first }),
    createServer().listen({ host: WAN, port: first + 1 }),
  ];
  await Promise.all(strangers.map((stranger) => once(stranger, 'listening')));
  try {
    for (let i = 0; i < 4; i += 1) {
      const { uid, entry } = await server.setUp();
      assert.equal(entry, { host: WAN, port: first + 2 });
      await server.peer.control.release({ uid });
    }
  } finally {
    for (const stranger of strangers) stranger.close();
  }
});

s('of two requests that exceed the ports together, one is served', async () => {
  await using server = await TestServer.start({ ports: 4 });
  const made = await Promise.allSettled([server.setUp({ count: 3 }), server.setUp({ count: 3, role: 'CONS' })]);
  assert.equal(made.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
});

s('ports return: 30 streams one after another on four ports', async () => {
  await using server = await TestServer.start({ ports: 4 });
  for (let i = 0; i < 30; i += 1) {
    const { uid, listeners } = await server.setUp({ count: 4, role: i % 2 === 0 ? 'PROD' : 'CONS' });
    assert.is(new Set(listeners.map(({ port }) => port)).size, 4);
    await server.peer.control.release({ uid });
  }
  assert.equal(await server.leftovers(), NOTHING);
});

s('limits.streams and limits.waiting hold, are named in the error, and free up', async () => {
  await using server = await TestServer.start({ limits: { streams: 3, waiting: 2 } });
  const { control } = server.peer;
  const wait = (uid: string): Promise<unknown> => {
    const req = control.req({ uid, role: 'PROD', numConn: 1 });
    req.catch(() => undefined);
    return eventually(async () => assert.is(await server.stateOf(uid), 'waiting')).then(() => req.catch(() => 0));
  };
  const [a, b, c, d] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
  const ended = [wait(a), wait(b)];
  await eventually(async () => assert.is((await server.peer.streams.describeServer({})).waiting, 2));
  assert.match(
    await refused(control.req({ uid: c, role: 'PROD', numConn: 1 }), 'SCI_LIMIT_REACHED'),
    /limits\.waiting/,
  );
  await control.hello({ uid: a });
  await server.setUp({ uid: c });
  assert.match(
    await refused(control.req({ uid: d, role: 'PROD', numConn: 1 }), 'SCI_LIMIT_REACHED'),
    /limits\.streams/,
  );
  await control.release({ uid: b });
  await server.setUp({ uid: d });
  await Promise.all(ended);
});

s.run();
