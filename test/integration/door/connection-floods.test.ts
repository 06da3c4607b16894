/** Strangers that occupy connections of a control server: they give way, and callers are served. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import * as assert from 'uvu/assert';
import { eventually } from '@scistream/core/testing';
import { ended, JSON_CALL } from '../../support/raw-client.js';
import { portOf, TestServer, urlOf, type ServerOptions } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('connection floods');

const TOKENS = { alice: 'alice-7Jq3-secret' };
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const AUTH: ServerOptions['auth'] = [
  { use: 'token', tokens: Object.entries(TOKENS).map(([subject, token]) => ({ subject, sha256: sha256(token) })) },
];
const WAIT_MS = 40_000;

s('a full server closes the oldest silent connections of the largest crowd, and serves new callers', async () => {
  await using server = await TestServer.start({ limits: { clientsPerAddress: 5, clients: 8 } });
  const port = portOf(server);
  const open = async (localAddress: string): Promise<Socket> => {
    const socket = connect({ port, host: '127.0.0.1', localAddress }).on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  };
  await server.peer.streams.list({});
  const crowd: Socket[] = [];
  for (let i = 0; i < 4; i += 1) crowd.push(await open('127.0.0.8'));
  const [first, second, third, fourth] = crowd;
  if (!first || !second || !third || !fourth) throw new Error('no crowd');
  const gone = [ended(first), ended(second)];
  const other = await open('127.0.0.9');
  await gone[0];
  const caller = await server.connect();
  await caller.streams.list({});
  await gone[1];
  assert.ok([third, fourth, other].every((socket) => !socket.destroyed));
  for (const socket of [...crowd, other]) socket.destroy();
});

s('an address without places left closes its own silent connections first, and then rejects new ones', async () => {
  await using server = await TestServer.start({ limits: { clientsPerAddress: 3 } });
  const port = portOf(server);
  await server.peer.streams.list({});
  const silent = connect(port, '127.0.0.1').on('error', () => undefined);
  await once(silent, 'connect');
  const gone = ended(silent);
  const [second, third] = [await server.connect(), await server.connect()];
  await Promise.all([second.streams.list({}), third.streams.list({}), gone]);
  await ended(connect(port, '127.0.0.1'));
  await server.peer.streams.list({});
});

s('an address that opens connections without a call gets only some per second', async () => {
  await using server = await TestServer.start({ auth: AUTH, limits: { clientsPerAddress: 10 } });
  const port = portOf(server);
  const alice = await server.connect(TOKENS.alice);
  await alice.streams.list({});
  for (let i = 0; i < 10; i += 1) {
    const socket = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.8' }).on('error', () => undefined);
    await once(socket, 'connect');
    socket.destroy();
  }
  await eventually(() => {
    connect({ port, host: '127.0.0.1', localAddress: '127.0.0.8' })
      .on('error', () => undefined)
      .destroySoon();
    assert.match(server.log.text, 'too many new connections');
  }, WAIT_MS);
  await (await server.connect(TOKENS.alice)).streams.list({});
});

s('a stranger above its rate loses its connection, and an accepted caller of its address keeps his', async () => {
  await using server = await TestServer.start({ auth: AUTH, limits: { strangerRequestsPerSecond: 0.1 } });
  const alice = await server.connect(TOKENS.alice);
  await alice.streams.list({});
  const session = connectHttp2(urlOf(server), { rejectUnauthorized: false });
  session.on('error', () => undefined);
  const closed = new Promise((resolve) => session.once('close', resolve));
  const call = { ':method': 'POST', ':path': '/scistream.v1.Streams/List', ...JSON_CALL };
  for (const status of [401, 429]) {
    const [answer] = (await once(session.request(call).end('{}').resume(), 'response')) as [Record<string, unknown>];
    assert.is(answer[':status'], status);
  }
  await closed;
  assert.equal((await alice.streams.list({})).streams, []);
});

s('calls of strangers that read no answer hold neither their headers nor their connection', async () => {
  await using server = await TestServer.start({ auth: AUTH });
  const session = connectHttp2(urlOf(server), { rejectUnauthorized: false, settings: { initialWindowSize: 0 } });
  session.on('error', () => undefined);
  await once(session, 'remoteSettings');
  assert.is(session.remoteSettings.maxConcurrentStreams, 128);
  const call = {
    ':method': 'POST',
    ':path': '/scistream.v1.Streams/List',
    ...JSON_CALL,
    'x-large': 'x'.repeat(20_000),
  };
  const calls = Array.from({ length: 5 }, () => session.request(call).on('error', () => undefined));
  await Promise.all(calls.map((stream) => new Promise((resolve) => stream.once('close', resolve))));
  const raised = once(session, 'remoteSettings');
  session
    .request({ ...call, authorization: TOKENS.alice })
    .on('error', () => undefined)
    .end('{}');
  await raised;
  assert.is(session.remoteSettings.maxConcurrentStreams, 2_000);
  session.destroy();
});

s('a changed limit of connections is in force after a reload, and closes none', async () => {
  await using server = await TestServer.start({ limits: { clients: 4 } });
  const port = portOf(server);
  const open = async (): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  };
  const withClients = (clients: number) => ({ ...server.config, limits: { ...server.config.limits, clients } });
  await server.peer.streams.list({});
  const held = [await open(), await open()];
  await server.server.reload(withClients(2));
  await server.peer.streams.list({});
  assert.ok(
    held.every((socket) => !socket.destroyed),
    'the earlier ones stay',
  );
  await server.server.reload(withClients(6));
  const [oldest] = held;
  if (!oldest) throw new Error('none');
  const gone = ended(oldest);
  held.push(await open(), await open());
  await gone;
  await server.peer.streams.list({});
  assert.ok(held.slice(1).every((socket) => !socket.destroyed));
  for (const socket of held) socket.destroy();
});

s.run();
