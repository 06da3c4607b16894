/** Access: what each caller may do, and that strangers learn nothing. */
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:http2';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { ConnectError } from '@connectrpc/connect';
import { toSciStreamError } from '@scistream/core/terminal';
import { requireAuth } from '@scistream/core/internal';
import { eventually, temporaryDirectory } from '@scistream/core/testing';
import { refused, type Peer } from '../../support/clients.js';
import { TestServer, type ServerOptions } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('access');

const TOKENS = { alice: 'alice-7Jq3-secret', bob: 'bob-9Xw1-secret', root: 'root-2Zk8-secret' };
type Auth = NonNullable<ServerOptions['auth']>[number];
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const AUTH: Auth[] = [
  {
    use: 'token',
    tokens: [
      { subject: 'alice', sha256: sha256(TOKENS.alice) },
      { subject: 'bob', sha256: sha256(TOKENS.bob) },
      { subject: 'root', sha256: sha256(TOKENS.root), admin: true },
    ],
  },
];

/** Every call of the services, for one uid. */
const callsFor = ({ control, streams }: Peer, uid: string): Readonly<Record<string, () => Promise<unknown>>> => ({
  hello: () => control.hello({ uid, role: 'PROD' }),
  update: () => control.update({ uid, role: 'PROD', remoteListeners: ['127.0.0.1:9'] }),
  'update with a bad target': () => control.update({ uid, role: 'PROD', remoteListeners: ['nonsense'] }),
  'update without targets': () => control.update({ uid, role: 'PROD', remoteListeners: [] }),
  release: () => control.release({ uid }),
  get: () => streams.get({ uid }),
  watch: async () => {
    for await (const stream of streams.watch({ uid })) return stream;
    return undefined;
  },
  openProbe: () => streams.openProbe({ uid }),
  runProbe: () => streams.runProbe({ uid, address: '127.0.0.1:9', challenge: '0'.repeat(64) }),
  connectTargets: () => streams.connectTargets({ uid }),
  connectListener: () => streams.connectListener({ uid }),
});

s('no caller gets in without a token, whatever hash the configuration has', async () => {
  const start = async (hash: string): Promise<string> => {
    const tokens = [{ subject: 'alice', sha256: hash, admin: true }];
    await using _server = await TestServer.start({ auth: [{ use: 'token', tokens }] });
    return 'started';
  };
  const refusal = async (hash: string): Promise<string> => start(hash).catch(String);
  assert.match(await refusal(sha256('')), /auth\.0\.tokens\.0\.sha256: is the hash of an empty token/);
  assert.match(await refusal(`sha256:${sha256('')}`), /is the hash of an empty token/);
  assert.is(await refusal(sha256('x')), 'started');
});

s('a warning says that everybody may call, on every start and after a reload', async () => {
  const listen = { host: '0.0.0.0', port: 0 };
  const warned = ({ log }: TestServer): number =>
    log.lines.filter(({ level, message }) => level === 'warn' && message.startsWith('authentication is off')).length;
  const none = { use: 'none' };
  await using closed = await TestServer.start({ auth: AUTH, listen });
  assert.is(warned(closed), 0);
  await closed.server.reload({ ...closed.config, auth: [...AUTH, none] });
  assert.is(warned(closed), 1);
  await closed.server.reload(closed.config);
  assert.is(warned(closed), 1);
  await using directory = await temporaryDirectory();
  const audit = { file: join(directory.path, 'audit'), size: 1_000_000, keep: 0 };
  for (const auth of [[...AUTH, none], [none, ...AUTH], [none]]) {
    await using open = await TestServer.start({ auth, listen, audit });
    assert.is(warned(open), 1, JSON.stringify(auth));
  }
  await using here = await TestServer.start({ auth: [none] });
  assert.is(warned(here), 0, 'on loopback');
});

s('two authenticators cannot give two callers the same name', async () => {
  const oidc = (issuer: string): Auth => ({ use: 'oidc', issuer, audience: 'a' });
  const certificate = (issuer: string): Auth => ({ use: 'certificate', issuer });
  const token: Auth = { use: 'token', tokens: [{ subject: 'x', sha256: sha256('x') }] };
  const tls = { cert: '/c', key: '/k', clientCa: '/ca' };
  const check = (...auth: Auth[]): string => {
    try {
      requireAuth({ auth, tls, insecure: false, listen: { host: '127.0.0.1', port: 1 } });
      return 'fine';
    } catch (error) {
      return `${toSciStreamError(error).code} ${String(error)}`;
    }
  };
  const idp = 'https://idp.example';
  for (const wrong of [
    [certificate('token')],
    [certificate('none')],
    [certificate(idp), oidc(idp)],
    [oidc(idp), oidc(`${idp}:8443/realms/lab`)],
    [certificate('lab:a'), oidc(idp), certificate('lab')],
    [{ use: 'plugin', issuer: 'token' }],
    [{ use: 'aps' }, certificate('aps')],
  ]) {
    assert.match(check(...wrong), /^SCI_CONFIG_INVALID .*auth\.\d/, JSON.stringify(wrong));
  }
  for (const right of [
    [token, certificate('aps'), oidc(idp), { use: 'none' }],
    [oidc(idp), { ...oidc(idp), audience: 'b' }],
    [oidc(idp), oidc(`${idp}/realms/lab`), oidc('https://idp.example.org')],
    [token, { ...token }],
    [{ use: 'Token' }, { use: 'certificate' }],
  ]) {
    assert.is(check(...right), 'fine', JSON.stringify(right));
  }
});

s('without valid credentials every call fails in the same way', async () => {
  await using server = await TestServer.start({ auth: AUTH });
  const owner = await server.connect(TOKENS.alice);
  const { uid } = await server.setUp({ peer: owner });
  const seen = new Set<string>();
  for (const authorization of [undefined, 'INVALID_TOKEN', '', 'Bearer ', `${TOKENS.alice}x`, sha256(TOKENS.alice)]) {
    const stranger = await server.connect(authorization);
    for (const asked of [uid, randomUUID(), 'bad shape!']) {
      const calls = { ...callsFor(stranger, asked), req: () => stranger.control.req({ uid: asked, role: 'nobody' }) };
      for (const call of Object.values(calls)) seen.add(await refused(call(), 'SCI_UNAUTHENTICATED'));
    }
    seen.add(await refused(stranger.streams.describeServer({}), 'SCI_UNAUTHENTICATED'));
    seen.add(await refused(stranger.streams.list({}), 'SCI_UNAUTHENTICATED'));
  }
  assert.is(seen.size, 1, [...seen].join(' | '));
  assert.is(await server.stateOf(uid, owner), 'waiting');
});

s('a stream of another owner looks exactly like one that does not exist', async () => {
  await using server = await TestServer.start({ auth: AUTH });
  const [alice, bob] = [await server.connect(TOKENS.alice), await server.connect(`Bearer ${TOKENS.bob}`)];
  const { uid } = await server.setUp({ peer: alice });
  const nobodys = randomUUID();
  const names = Object.keys(callsFor(bob, uid));
  for (const name of names) {
    const [theirs, none] = await Promise.all(
      [uid, nobodys].map(async (asked) => {
        const error = await callsFor(bob, asked)
          [name]?.()
          .catch((thrown: unknown) => thrown);
        assert.instance(error, ConnectError, `${name} must be rejected`);
        const { code, rawMessage, metadata } = error as ConnectError;
        return [code, metadata.get('scistream-code'), rawMessage.replaceAll(asked, 'UID')];
      }),
    );
    assert.equal(theirs, none, name);
  }
  await refused(bob.control.release({ uid }), 'SCI_STREAM_NOT_FOUND');
  assert.equal((await bob.streams.list({ ended: true })).streams, []);
  const mine = await alice.streams.list({});
  assert.equal(
    mine.streams.map(({ uid: listed, owner }) => [listed, owner]),
    [[uid, 'token:alice']],
  );
  assert.is(await server.stateOf(uid, alice), 'waiting');
});

s('a HELLO of another caller neither starts nor ends a waiting request', async () => {
  await using server = await TestServer.start({ auth: AUTH });
  const [alice, bob] = [await server.connect(TOKENS.alice), await server.connect(TOKENS.bob)];
  const uid = randomUUID();
  const req = alice.control.req({ uid, role: 'PROD', numConn: 1 });
  await eventually(async () => assert.is(await server.stateOf(uid, alice), 'waiting'));
  await refused(bob.control.hello({ uid, prodListeners: ['10.6.6.6:1'] }), 'SCI_STREAM_NOT_FOUND');
  await refused(bob.control.hello({ uid, prodListeners: ['nonsense'] }), 'SCI_STREAM_NOT_FOUND');
  await alice.control.hello({ uid, prodListeners: ['10.0.0.1:1'] });
  assert.equal((await req).prodListeners, ['10.0.0.1:1']);
});

s('an admin sees, changes and releases all streams', async () => {
  await using server = await TestServer.start({ auth: AUTH });
  const [alice, root] = [await server.connect(TOKENS.alice), await server.connect(TOKENS.root)];
  const { uid } = await server.setUp({ peer: alice });
  await root.control.update({ uid, role: 'PROD', remoteListeners: ['127.0.0.1:9'] });
  assert.equal(
    (await root.streams.list({})).streams.map(({ owner }) => owner),
    ['token:alice'],
  );
  await root.control.release({ uid });
  assert.is(await server.stateOf(uid, alice), 'released');
});

s('without authentication the token is ignored and all callers are the same', async () => {
  await using server = await TestServer.start();
  const { uid } = await server.setUp({ peer: await server.connect('Bearer something') });
  for (const authorization of ['INVALID_TOKEN', '', undefined]) {
    assert.is(await server.stateOf(uid, await server.connect(authorization)), 'waiting');
  }
});

s('no token appears in a log or an error, even if the call fails', async () => {
  await using server = await TestServer.start({ auth: AUTH });
  const messages: string[] = [];
  for (const authorization of [
    TOKENS.alice,
    `Bearer ${TOKENS.bob}`,
    'wrong-5Tp0-secret',
    `bearer ${'x'.repeat(9000)}-secret`,
  ]) {
    const peer = await server.connect(authorization);
    const uid = randomUUID();
    for (const call of Object.values(callsFor(peer, uid))) messages.push(await call().then(() => '', String));
    await peer.control.req({ uid, role: 'PROD', numConn: 0 }).catch((error: unknown) => messages.push(String(error)));
    await server.setUp({ peer, uid }).catch((error: unknown) => messages.push(String(error)));
    await peer.control.release({ uid }).catch((error: unknown) => messages.push(String(error)));
  }
  assert.ok(
    server.log.lines.some(({ message }) => message === 'stream requested'),
    'the log was captured',
  );
  assert.ok(server.log.lines.some(({ message }) => message === 'call rejected'));
  assert.not.match(server.log.text, /-secret|xxxx/i);
  assert.not.match(messages.join('\n'), /-secret|xxxx/i);
  for (const token of Object.values(TOKENS)) assert.not.match(server.log.text, sha256(token));
});

s('an error is in the trailers of a gRPC call on the wire', async () => {
  await using server = await TestServer.start();
  const session = connect(server.peerOptions.url, { ca: await readFile(server.peerOptions.certificate) });
  try {
    const request = session.request({
      ':method': 'POST',
      ':path': '/scistream.Control/release',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const trailers: Record<string, unknown> = {};
    // A call without data may be answered by headers only ("Trailers-Only" of the gRPC specification).
    request.on('response', (headers) => void Object.assign(trailers, headers));
    request.on('trailers', (headers) => void Object.assign(trailers, headers));
    request.resume().end(Buffer.from([0, 0, 0, 0, 0]));
    await once(request, 'close');
    assert.equal([trailers['grpc-status'], trailers['scistream-code']], ['3', 'SCI_UID_INVALID']);
    assert.match(String(trailers['grpc-message']), /uid/);
    assert.type(trailers['grpc-status-details-bin'], 'string');
  } finally {
    session.destroy();
  }
});

s.run();
