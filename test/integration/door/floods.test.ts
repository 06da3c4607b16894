/** Callers that exceed limits: they are rejected or disconnected, and all others are served. */
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2, constants, type ClientHttp2Session } from 'node:http2';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { gzipSync } from 'node:zlib';
import * as assert from 'uvu/assert';
import { eventually } from '@scistream/core/testing';
import { refused, type Peer } from '../../support/clients.js';
import { NOTHING } from '../../support/leftovers.js';
import { ended, JSON_CALL, RawClient } from '../../support/raw-client.js';
import { portOf, TestServer, urlOf, type ServerOptions } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('floods');

const TOKENS = { alice: 'alice-7Jq3-secret', bob: 'bob-9Xw1-secret' };
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const AUTH: ServerOptions['auth'] = [
  { use: 'token', tokens: Object.entries(TOKENS).map(([subject, token]) => ({ subject, sha256: sha256(token) })) },
];
/** The error code of a call; empty if it succeeds. */
const codeOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => '',
    (error: { metadata?: Headers }) => error.metadata?.get('scistream-code') ?? 'none of ours',
  );
const WAIT_MS = 40_000;

s('a stranger is rejected by its headers: its message is not read, and the answer reveals nothing', async () => {
  await using server = await TestServer.start({ auth: AUTH });
  const { uid } = await server.setUp({ peer: await server.connect(TOKENS.alice) });
  const session = connectHttp2(urlOf(server), { rejectUnauthorized: false });
  try {
    const seen = new Set<string>();
    for (const [type, asked] of [
      ['application/json', uid],
      ['application/json', randomUUID()],
      ['application/proto', uid],
      ['application/grpc', uid],
      ['application/grpc-web+proto', uid],
    ] as const) {
      const stream = session.request({
        ':method': 'POST',
        ':path': '/scistream.Control/release',
        'content-type': type,
      });
      // The message never ends, so the server can answer only if it does not wait for it.
      stream.write(JSON.stringify({ uid: asked }));
      const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
      let text = '';
      stream.setEncoding('latin1').on('data', (part: string) => void (text += part));
      await once(stream, 'close');
      assert.not.match(text, uid);
      if (type === 'application/json') seen.add(`${String(headers[':status'])} ${text}`);
      else if (type === 'application/grpc') assert.ok(headers[':status'] === 200);
    }
    assert.is(seen.size, 1);
    assert.match([...seen].join(), /^401 .*SCI_UNAUTHENTICATED|^401 .*unauthenticated/);
  } finally {
    session.destroy();
  }
  assert.is(server.log.lines.filter(({ level }) => level === 'error').length, 0);
  assert.is((await (await server.connect(TOKENS.alice)).streams.list({})).streams.length, 1);
});

s('a caller without credentials loses the connection, whatever it sends', async () => {
  await using server = await TestServer.start({ auth: AUTH, limits: { strangerTimeoutMs: 2_000 } });
  const port = portOf(server);
  const alice = await server.connect(TOKENS.alice);
  await alice.streams.list({});
  const plain = connect(port, '127.0.0.1');
  const tls = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  const slow = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] });
  const drip = setInterval(() => slow.writable && slow.write('x'), 50);
  slow.on('error', () => undefined).write('POST /scistream.Control/req HTTP/1.1\r\nx-header: ');
  try {
    await Promise.all([ended(plain), ended(tls), ended(slow)]);
  } finally {
    clearInterval(drip);
  }
  const stream = (await alice.streams.list({})).streams;
  assert.equal(stream, []);
});

s('a caller whose message does not end loses its call; another call on the same connection is served', async () => {
  await using server = await TestServer.start({ auth: AUTH, limits: { strangerTimeoutMs: 1_000 } });
  const headers = { ...JSON_CALL, authorization: `Bearer ${TOKENS.alice}` };
  const session = connectHttp2(urlOf(server), { rejectUnauthorized: false });
  try {
    const call = { ':method': 'POST', ':path': '/scistream.v1.Streams/List', ...headers };
    const slow = session.request(call).on('error', () => undefined);
    slow.write('{');
    await once(slow, 'close');
    assert.is(slow.rstCode, constants.NGHTTP2_CANCEL);
    const [answer] = (await once(session.request(call).end('{}'), 'response')) as [Record<string, unknown>];
    assert.is(answer[':status'], 200);
  } finally {
    session.destroy();
  }
  const old = connectTls({ port: portOf(server), host: '127.0.0.1', rejectUnauthorized: false });
  old.write(
    `POST /scistream.v1.Streams/List HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n` +
      `${Object.entries(headers)
        .map(([name, value]) => `${name}: ${value}\r\n`)
        .join('')}\r\n{`,
  );
  await ended(old);
});

s('attempts with wrong credentials are limited by address, then rejected without a check', async () => {
  await using server = await TestServer.start({ auth: AUTH, limits: { strangerRequestsPerSecond: 1 } });
  const stranger = await server.connect('wrong');
  const codes = new Set<string>();
  for (let i = 0; i < 60; i += 1) {
    await stranger.streams
      .list({})
      .catch((error: { metadata?: Headers }) => codes.add(error.metadata?.get('scistream-code') ?? ''));
  }
  assert.equal([...codes].sort(), ['SCI_RATE_LIMITED', 'SCI_UNAUTHENTICATED']);
});

s(
  'a recently accepted caller is not blocked by strangers of the same address, until it is no longer accepted',
  async () => {
    // One attempt at a time, and the next after ten seconds.
    await using server = await TestServer.start({ auth: AUTH, limits: { strangerRequestsPerSecond: 0.1 } });
    const [alice, bob] = [await server.connect(TOKENS.alice), await server.connect(TOKENS.bob)];
    const stranger = await server.connect('wrong');
    const useUp = async (): Promise<void> => {
      for (let code = ''; code !== 'SCI_RATE_LIMITED';) code = await codeOf(stranger.streams.list({}));
    };
    await alice.streams.list({});
    await useUp();
    for (let i = 0; i < 20; i += 1) {
      await useUp();
      assert.is(await codeOf(alice.streams.list({})), '');
    }
    const again = await server.connect(`Bearer ${TOKENS.alice}`);
    assert.is(await codeOf(again.streams.list({})), '', 'on a new connection, too');
    await useUp();
    assert.is(await codeOf(bob.streams.list({})), 'SCI_RATE_LIMITED', 'he is a stranger');
    const tokens = [{ subject: 'bob', sha256: sha256(TOKENS.bob) }];
    await server.server.reload({ ...server.config, auth: [{ use: 'token', tokens }] });
    await refused(alice.streams.list({}), 'SCI_UNAUTHENTICATED');
    await useUp();
    assert.is(await codeOf(alice.streams.list({})), 'SCI_RATE_LIMITED', 'now it is a stranger');
  },
);

s('requests of a known caller are limited, too, even if sent concurrently', async () => {
  await using server = await TestServer.start({ auth: AUTH, limits: { requestsPerSecond: 1 } });
  const alice = await server.connect(TOKENS.alice);
  await alice.streams.list({});
  const codes = await Promise.all(Array.from({ length: 40 }, () => codeOf(alice.streams.list({}))));
  assert.ok(codes.filter((code) => code === 'SCI_RATE_LIMITED').length >= 20, codes.join());
});

s('headers and messages that are too large are rejected, and the connection of others stays open', async () => {
  await using server = await TestServer.start({ auth: AUTH });
  const bob = await server.connect(TOKENS.bob);
  const raw = await RawClient.open(urlOf(server), { maxSendHeaderBlockLength: 1_000_000 });
  const large = raw.call('scistream.v1.Streams/List', { ...JSON_CALL, 'x-large': 'x'.repeat(100_000) }, '{}');
  assert.ok(
    (await large.then(
      ({ status }) => status,
      () => 431,
    )) >= 400,
  );
  raw.close();
  const port = portOf(server);
  const old = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] });
  old.on('error', () => undefined).write(`POST / HTTP/1.1\r\nhost: x\r\nx-large: ${'x'.repeat(100_000)}\r\n\r\n`);
  let text = '';
  old.setEncoding('latin1').on('data', (part: string) => void (text += part));
  await ended(old);
  assert.match(text, /^(HTTP\/1.1 431|$)/);
  const alice = await RawClient.open(urlOf(server));
  const head = { ...JSON_CALL, authorization: TOKENS.alice };
  const message = JSON.stringify({ uid: 'a'.repeat(2_000_000) });
  for (const [headers, body] of [
    [head, message],
    [{ ...head, 'content-encoding': 'gzip' }, gzipSync(message)],
  ] as const) {
    const status = await alice.call('scistream.Control/release', headers, body).then(
      (answer) => answer.status,
      () => 0,
    );
    assert.ok(status === 0 || status === 429 || status === 400, String(status));
  }
  alice.close();
  assert.equal((await bob.streams.list({})).streams, []);
});

s('streams watched by one identity are limited, and another identity is not affected', async () => {
  await using server = await TestServer.start({ auth: AUTH, limits: { watchesPerIdentity: 2 } });
  const [alice, again, bob] = await Promise.all([TOKENS.alice, TOKENS.alice, TOKENS.bob].map((t) => server.connect(t)));
  if (!alice || !again || !bob) throw new Error('no peers');
  const { uid } = await server.setUp({ peer: alice });
  const watch = async (peer: Peer, of = uid, signal?: AbortSignal): Promise<void> => {
    await peer.streams
      .watch({ uid: of }, signal && { signal })
      [Symbol.asyncIterator]()
      .next();
  };
  const first = new AbortController();
  await watch(alice, uid, first.signal);
  await watch(again);
  assert.match(await refused(watch(alice), 'SCI_LIMIT_REACHED'), 'limits.watchesPerIdentity');
  const his = await server.setUp({ peer: bob });
  await watch(bob, his.uid);
  first.abort();
  await eventually(() => watch(alice), WAIT_MS);
  await refused(watch(alice), 'SCI_LIMIT_REACHED');
  again.cut();
  await eventually(() => watch(alice), WAIT_MS);
  await refused(watch(alice), 'SCI_LIMIT_REACHED');
  await alice.control.release({ uid });
  const other = await server.setUp({ peer: alice });
  await eventually(() => watch(alice, other.uid), WAIT_MS);
});

s('without authentication, watches are counted by address', async () => {
  await using server = await TestServer.start({ limits: { watchesPerIdentity: 1 } });
  const { uid } = await server.setUp();
  const watch = async () => server.peer.streams.watch({ uid })[Symbol.asyncIterator]().next();
  await watch();
  await refused(watch(), 'SCI_LIMIT_REACHED');
});

s('calls that begin and reset immediately, repeatedly, end the connection', async () => {
  await using server = await TestServer.start({ auth: AUTH });
  const bob = await server.connect(TOKENS.bob);
  const session: ClientHttp2Session = connectHttp2(urlOf(server), { rejectUnauthorized: false });
  session.on('error', () => undefined);
  await once(session, 'connect');
  const gone = new Promise((resolve) => session.once('close', resolve));
  const reset = (): void => {
    if (session.destroyed) return;
    const streams = Array.from({ length: 100 }, () =>
      session.request({ ':method': 'POST', ':path': '/scistream.v1.Streams/List', ...JSON_CALL }),
    );
    for (const stream of streams) stream.on('error', () => undefined);
    // Wait until they are on their way, or none of them would be sent.
    setImmediate(() => {
      for (const stream of streams) stream.close(8);
      setImmediate(reset);
    });
  };
  reset();
  await gone;
  // He has the same address, and the requests of that address count until the caller is known.
  await eventually(async () => assert.equal((await bob.streams.list({})).streams, []), WAIT_MS);
});

s('waiting requests of one identity are limited, and another identity is not affected', async () => {
  await using server = await TestServer.start({ auth: AUTH, limits: { waitingPerIdentity: 2 } });
  const [alice, bob] = [await server.connect(TOKENS.alice), await server.connect(TOKENS.bob)];
  const uids = [randomUUID(), randomUUID(), randomUUID()];
  const waits = uids
    .slice(0, 2)
    .map((uid) => refused(alice.control.req({ uid, role: 'PROD', numConn: 1 }), 'SCI_STREAM_RELEASED'));
  await eventually(async () => assert.is((await bob.streams.describeServer({})).waiting, 2), WAIT_MS);
  const message = await refused(
    alice.control.req({ uid: randomUUID(), role: 'PROD', numConn: 1 }),
    'SCI_LIMIT_REACHED',
  );
  assert.match(message, 'limits.waitingPerIdentity');
  const made = await server.setUp({ peer: bob });
  await bob.control.release({ uid: made.uid });
  for (const uid of uids.slice(0, 2)) await alice.control.release({ uid });
  await Promise.all(waits);
  assert.equal(await server.leftovers(), NOTHING);
});

s.run();
