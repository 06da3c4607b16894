/** Rules of a policy file, as callers of a control server see them: refusals come before anything is allocated. */
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { temporaryDirectory } from '@scistream/core/testing';
import type { Resolver } from '@scistream/core/internal';
import { refused, type Peer } from '../../support/clients.js';
import { TestServer, toAddress, type ServerOptions } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('policy');

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const AUTH: ServerOptions['auth'] = [
  {
    use: 'token',
    tokens: [
      { subject: 'alice', sha256: sha256('alice-secret'), groups: ['beamline'] },
      { subject: 'bob', sha256: sha256('bob-secret'), groups: ['beamline'] },
      { subject: 'eve', sha256: sha256('eve-secret') },
      { subject: 'root', sha256: sha256('root-secret'), admin: true },
    ],
  },
];

const BEAMLINE = {
  name: 'beamline',
  who: { groups: ['beamline'] },
  encryption: ['none'],
  targets: { networks: ['127.0.0.5/32', '10.0.1.0/24'] },
};

/** A control server with rules, and its directory. */
class RuledServer implements AsyncDisposable {
  private constructor(
    readonly server: TestServer,
    readonly audit: string,
    readonly policy: string,
    private readonly remove: () => Promise<void>,
  ) {}

  static async start(rules: readonly object[], options: ServerOptions = {}): Promise<RuledServer> {
    const directory = await temporaryDirectory();
    const { path } = directory;
    const policy = join(path, 'policy.yaml');
    await writeFile(policy, JSON.stringify({ rules }));
    const file = join(path, 'audit.jsonl');
    const audit = { file, size: 1e6, keep: 1 };
    const server = await TestServer.start({ auth: AUTH, policy, audit, ...options });
    return new RuledServer(server, file, policy, () => directory.remove());
  }

  as(name: string): Promise<Peer> {
    return this.server.connect(`${name}-secret`);
  }

  async decisions(): Promise<string[]> {
    const lines = (await readFile(this.audit, 'utf8')).trim().split('\n');
    return lines
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .map(({ who, action, decision, rule = '' }) => [who, action, decision, rule].join(' '));
  }

  async portsInUse(): Promise<number> {
    const root = await this.as('root');
    return (await root.streams.describeServer({})).gateways[0]?.portsInUse ?? NaN;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.remove();
  }
}

/** Answers every connection with its own address. */
async function greeter(host: string, port = 0): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(host);
  }).listen(port, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { server, port: address.port };
}

async function read({ host, port }: { host: string; port: number }): Promise<string> {
  const socket = connect(port, host);
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text;
}

/** The answer to a client with this address; `cut` if there is none. */
async function readFrom(localAddress: string, { host, port }: { host: string; port: number }): Promise<string> {
  const socket = connect({ host, port, localAddress });
  let text = '';
  socket.on('data', (chunk) => (text += String(chunk)));
  // A closed connection may look like an error.
  socket.on('error', () => socket.destroy());
  await new Promise((resolve) => socket.once('close', resolve));
  return text || 'cut';
}

const reqOf = (peer: Peer, more: object = {}): Promise<unknown> =>
  peer.control.req({ uid: randomUUID(), role: 'PROD', numConn: 1, ...more });

s('a caller without a rule gets nothing, and nothing is allocated', async () => {
  await using ruled = await RuledServer.start([BEAMLINE]);
  const eve = await ruled.as('eve');
  assert.match(await refused(reqOf(eve), 'SCI_FORBIDDEN'), /No rule applies to token:eve/);
  assert.is(await ruled.portsInUse(), 0);
  assert.equal((await (await ruled.as('root')).streams.list({ ended: true })).streams, []);
  assert.equal(await ruled.decisions(), ['token:eve request refused ']);
});

s('a request without credentials is served only if a rule allows none by name', async () => {
  await using ruled = await RuledServer.start([{ ...BEAMLINE, encryption: undefined }]);
  const message = await refused(reqOf(await ruled.as('alice')), 'SCI_ENCRYPTION_REQUIRED');
  assert.match(message, /Rule beamline does not allow encryption none/);
  assert.is(await ruled.portsInUse(), 0);
});

s('a probe from a network that is not among the sources gets no answer', async () => {
  await using ruled = await RuledServer.start([{ ...BEAMLINE, sources: ['127.0.0.9'] }]);
  const alice = await ruled.as('alice');
  const { uid } = await ruled.server.setUp({ peer: alice });
  const { address, challenge } = await alice.streams.openProbe({ uid });
  const answer = async (localAddress: string): Promise<string> => {
    const socket = connect({ ...toAddress(address), localAddress }).on('error', () => undefined);
    socket.write(challenge.slice(0, 32));
    let heard = '';
    socket.on('data', (chunk: Buffer) => (heard += chunk.toString()));
    await new Promise((resolve) => socket.once('close', resolve));
    return heard;
  };
  assert.is(await answer('127.0.0.8'), '');
  assert.is(await answer('127.0.0.9'), challenge.slice(32));
});

s('a consumer from a network that is not among the sources is rejected at the listener', async () => {
  const consumers = { ...BEAMLINE, name: 'consumers', roles: ['CONS'], sources: ['127.0.0.9', '::ffff:10.0.0.0/104'] };
  await using ruled = await RuledServer.start([consumers]);
  const alice = await ruled.as('alice');
  const { uid, entry } = await ruled.server.setUp({ role: 'CONS', peer: alice });
  const { sources } = await alice.streams.get({ uid });
  assert.equal(sources, ['127.0.0.9/32', '10.0.0.0/8']);
  const { server, port } = await greeter('127.0.0.5');
  try {
    const target = `127.0.0.5:${port}`;
    await alice.control.update({ uid, remoteListeners: [target], role: 'CONS' });
    let seen = 0;
    server.on('connection', () => (seen += 1));
    assert.is(await readFrom('127.0.0.8', entry), 'cut');
    assert.is(await readFrom('127.0.0.9', entry), '127.0.0.5');
    assert.is(seen, 1, 'a stranger reached the target');
    const { statistics } = await alice.streams.get({ uid });
    assert.equal(
      statistics.map(({ connections, refused: cut }) => [connections, cut]),
      [[1n, 1n]],
    );
  } finally {
    server.close();
  }
  const lines = (await readFile(ruled.audit, 'utf8')).trim().split('\n');
  const told = lines.map((line) => JSON.parse(line) as { action: string; sources?: unknown });
  assert.equal(told.find(({ action }) => action === 'request')?.sources, sources);
});

s('a rule allows targets for the streams that it allows, whichever rule they were made under', async () => {
  const who = { identities: ['token:alice'] };
  const limits = { connections: 1, lifetime: '1h' };
  const lab = { name: 'lab', who, encryption: ['none'], sources: ['127.0.0.9'], limits, targets: BEAMLINE.targets };
  const open = { name: 'open', who, encryption: ['none'], targets: { networks: ['127.0.0.80'] } };
  await using ruled = await RuledServer.start([lab, open]);
  const alice = await ruled.as('alice');
  const target = '127.0.0.5:9';
  const retarget = (uid: string): Promise<unknown> => alice.control.update({ uid, remoteListeners: [target] });
  // Requests no lifetime and gets that of the rule.
  const narrow = await ruled.server.setUp({ peer: alice, targets: [target] });
  assert.equal((await alice.streams.get({ uid: narrow.uid })).sources, ['127.0.0.9/32']);
  await alice.control.update({ uid: narrow.uid, remoteListeners: ['127.0.0.80:9'] });
  const wide = await ruled.server.setUp({ peer: alice, count: 2, targets: ['127.0.0.80:9'] });
  const why = /Rule lab allows target 127\.0\.0\.5:9, but not 2 connections/;
  assert.match(await refused(retarget(wide.uid), 'SCI_FORBIDDEN'), why);
  const probe = { uid: wide.uid, address: target, challenge: '0'.repeat(64) };
  assert.match(await refused(alice.streams.runProbe(probe), 'SCI_FORBIDDEN'), why);
  await writeFile(ruled.policy, JSON.stringify({ rules: [{ ...lab, sources: ['127.0.0.10'] }, open] }));
  await ruled.server.server.reload(ruled.server.config);
  assert.match(await refused(retarget(narrow.uid), 'SCI_FORBIDDEN'), /but not connections from 127\.0\.0\.9\/32/);
  assert.equal((await alice.streams.get({ uid: narrow.uid })).targets, ['127.0.0.80:9']);
});

s('an alias of a proxy means that proxy; no proxy means the default one', async () => {
  await using ruled = await RuledServer.start([{ ...BEAMLINE, proxies: ['haproxy'] }]);
  const alice = await ruled.as('alice');
  for (const proxy of ['', 'relay', 'S2DS', 's2ds']) {
    assert.match(await refused(reqOf(alice, { proxy }), 'SCI_FORBIDDEN'), /proxy relay/);
  }
});

s('the stream of another member of the same group does not exist', async () => {
  await using ruled = await RuledServer.start([BEAMLINE]);
  const [alice, bob] = [await ruled.as('alice'), await ruled.as('bob')];
  const { uid } = await ruled.server.setUp({ peer: alice });
  await refused(bob.streams.get({ uid }), 'SCI_STREAM_NOT_FOUND');
  await refused(bob.control.update({ uid, remoteListeners: ['10.0.1.1:1'] }), 'SCI_STREAM_NOT_FOUND');
  await refused(bob.control.release({ uid }), 'SCI_STREAM_NOT_FOUND');
  assert.equal((await bob.streams.list({})).streams, []);
  assert.is(await ruled.server.stateOf(uid, alice), 'waiting');
  await (await ruled.as('root')).control.release({ uid });
  const decisions = await ruled.decisions();
  assert.ok(decisions.includes('token:bob update refused '));
  assert.is(decisions.at(-1), 'token:root release allowed owner');
});

s('a forbidden target is rejected by name, by address and on the way back, and the old targets stay', async () => {
  const known: Readonly<Record<string, readonly string[]>> = {
    'good.test': ['127.0.0.5'],
    'outside.test': ['10.0.2.1'],
    'loop.test': ['127.0.0.1'],
    'mixed.test': ['127.0.0.5', '169.254.169.254'],
  };
  const resolver: Resolver = (host) => Promise.resolve(known[host] ?? []);
  await using ruled = await RuledServer.start([BEAMLINE], { resolver });
  const alice = await ruled.as('alice');
  const { uid } = await ruled.server.setUp({ peer: alice });
  const update = (target: string) => alice.control.update({ uid, remoteListeners: [target] });
  await update('good.test:9');
  for (const target of [
    '10.0.2.1:9',
    'outside.test:9',
    '127.0.0.1:9',
    'loop.test:9',
    '[::1]:9',
    '[::ffff:127.0.0.1]:9',
  ]) {
    await refused(update(target), 'SCI_FORBIDDEN');
  }
  const hidden = await refused(update('mixed.test:9'), 'SCI_FORBIDDEN');
  assert.not.match(hidden, /169\.254|metadata/);
  assert.match(
    await readFile(ruled.audit, 'utf8'),
    /mixed\.test:9, which resolves to 169\.254\.169\.254 here.*metadata/,
  );
  await refused(update('nowhere.test:9'), 'SCI_TARGET_UNRESOLVED');
  assert.equal((await alice.streams.get({ uid })).targets, ['127.0.0.5:9']);
  const probe = { uid, address: '127.0.0.1:9', challenge: '0'.repeat(64) };
  await refused(alice.streams.runProbe(probe), 'SCI_FORBIDDEN');
});

s('a name is resolved once, so that a changed answer cannot replace the checked address', async () => {
  const good = await greeter('127.0.0.5');
  const evil = await greeter('127.0.0.6', good.port);
  let looked = 0;
  // No system knows the name. If it reached the gateway, the UPDATE would fail there.
  const resolver: Resolver = () => Promise.resolve([(looked += 1) === 1 ? '127.0.0.5' : '127.0.0.6']);
  try {
    await using ruled = await RuledServer.start([BEAMLINE], { resolver });
    const alice = await ruled.as('alice');
    const { uid, entry } = await ruled.server.setUp({ peer: alice, targets: [`rebind.test:${good.port}`] });
    assert.is(await read(entry), '127.0.0.5');
    assert.equal((await alice.streams.get({ uid })).targets, [`127.0.0.5:${good.port}`]);
    const { results } = await alice.streams.connectTargets({ uid });
    assert.equal(
      results.map(({ address }) => address),
      [`127.0.0.5:${good.port}`],
    );
    assert.is(looked, 1);
    const again = alice.control.update({ uid, remoteListeners: [`rebind.test:${good.port}`] });
    assert.match(await refused(again, 'SCI_FORBIDDEN'), /rebind\.test:\d+ resolves here to an address/);
    assert.match(await readFile(ruled.audit, 'utf8'), /which resolves to 127\.0\.0\.6 here/);
    assert.is(await read(entry), '127.0.0.5');
  } finally {
    good.server.close();
    evil.server.close();
  }
});

s('limits apply to each caller, for concurrent requests, too', async () => {
  const limits = { streams: 2, connections: 2, lifetime: '1h' };
  await using ruled = await RuledServer.start([{ ...BEAMLINE, limits }]);
  const [alice, bob] = [await ruled.as('alice'), await ruled.as('bob')];
  await refused(reqOf(alice, { numConn: 3 }), 'SCI_FORBIDDEN');
  await refused(reqOf(alice, { lifetimeMs: 3_600_001n }), 'SCI_FORBIDDEN');
  const made = await Promise.allSettled(Array.from({ length: 6 }, () => ruled.server.setUp({ peer: alice })));
  const streams = made.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  assert.is(streams.length, 2);
  const [first] = streams;
  if (!first) throw new Error('no stream');
  const { createdAt, expiresAt } = await alice.streams.get({ uid: first.uid });
  assert.is(Date.parse(expiresAt) - Date.parse(createdAt), 3_600_000);
  await ruled.server.setUp({ peer: bob });
  await alice.control.release({ uid: first.uid });
  await ruled.server.setUp({ peer: alice });
});

s('reloaded rules apply from then on; a wrong file changes nothing', async () => {
  await using ruled = await RuledServer.start([BEAMLINE]);
  const [alice, eve] = [await ruled.as('alice'), await ruled.as('eve')];
  const { uid } = await ruled.server.setUp({ peer: alice });
  await writeFile(ruled.policy, 'rules: [{ who: {} }]');
  await ruled.server.server.reload(ruled.server.config).then(
    () => assert.unreachable('a wrong file was accepted'),
    () => undefined,
  );
  await refused(reqOf(eve), 'SCI_FORBIDDEN');
  await alice.control.update({ uid, remoteListeners: ['10.0.1.1:9'] });
  await writeFile(
    ruled.policy,
    JSON.stringify({ rules: [{ who: { identities: ['token:eve'] }, encryption: ['none'] }] }),
  );
  await ruled.server.server.reload(ruled.server.config);
  await ruled.server.setUp({ peer: eve });
  await refused(alice.control.update({ uid, remoteListeners: ['10.0.1.2:9'] }), 'SCI_FORBIDDEN');
});

s('an action that cannot be audited is not done', async () => {
  await using server = await TestServer.start({ auth: AUTH, audit: { file: '/dev/full', size: 1e6, keep: 1 } });
  const alice = await server.connect('alice-secret');
  await refused(reqOf(alice), 'SCI_AUDIT_WRITE');
  assert.equal((await alice.streams.describeServer({})).streams, 0);
});

s('no token is in the audit log', async () => {
  await using ruled = await RuledServer.start([BEAMLINE]);
  for (const name of ['alice', 'eve', 'nobody'])
    await reqOf(await ruled.as(name), { numConn: 0 }).catch(() => undefined);
  await ruled.server.setUp({ peer: await ruled.as('alice'), targets: ['10.0.1.5:1'] });
  const text = await readFile(ruled.audit, 'utf8');
  assert.match(text, /"peer":"127\.0\.0\.1"/);
  assert.not.match(text, /-secret/);
});

s('every probe needs a rule for the targets and is audited; viewing a stream allows none', async () => {
  const full = { ...BEAMLINE, name: 'full' };
  await using ruled = await RuledServer.start([full]);
  const alice = await ruled.as('alice');
  const { uid } = await ruled.server.setUp({ peer: alice, targets: ['127.0.0.5:9'] });
  const [result] = (await alice.streams.connectTargets({ uid })).results;
  assert.match(result?.error ?? '', 'ECONNREFUSED');
  const viewing = { ...full, actions: ['request', 'hello', 'view', 'release'] };
  await writeFile(ruled.policy, JSON.stringify({ rules: [viewing] }));
  await ruled.server.server.reload(ruled.server.config);
  await refused(alice.streams.connectTargets({ uid }), 'SCI_FORBIDDEN');
  await refused(alice.streams.connectListener({ uid, holdMs: 1n }), 'SCI_FORBIDDEN');
  await refused(alice.streams.probeTargets({ uid, answer: 'data' }), 'SCI_FORBIDDEN');
  const probes = (await ruled.decisions()).filter((line) => line.includes(' probe '));
  assert.equal(probes, ['token:alice probe allowed full', ...Array<string>(3).fill('token:alice probe refused full')]);
});

s.run();
