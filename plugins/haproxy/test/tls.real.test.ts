// needs: haproxy
// suite: full
import { once } from 'node:events';
import { readdir, readFile, stat } from 'node:fs/promises';
import { connect as connectPlain } from 'node:net';
import { join } from 'node:path';
import { connect, createServer, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Address, StreamTls } from '@scistream/core';
import {
  echo,
  eventually,
  exchange,
  inProxyEnvironment,
  named,
  read,
  receiveAll,
  sendRandom,
  testCredentials,
  type Flow,
  type ProxyEnvironment,
  type TestCredentials,
} from '@scistream/core/testing';
import { HaproxyContainer, HaproxyOptions } from '@scistream/plugin-haproxy';
import { startSide } from './support.js';

const MIB = 1024 * 1024;

interface Both {
  readonly env: ProxyEnvironment;
  readonly inbound: { uid: string; address: Address };
  readonly outbound: { uid: string; address: Address };
}

const s = suite<{ credentials: TestCredentials; foreign: TestCredentials }>('tls');

s.before(async (context) => {
  [context.credentials, context.foreign] = await Promise.all([testCredentials(), testCredentials()]);
});

/** Runs a test with both gateways of an encrypted stream; the outbound one forwards to the inbound one already. */
function test(name: string, run: (both: Both, credentials: TestCredentials) => Promise<void>): void {
  s(name, ({ credentials }) =>
    inProxyEnvironment(
      { create: (context) => new HaproxyContainer(context, HaproxyOptions.parse({})) },
      async (env) => {
        const inbound = await startSide(env, 'inbound', credentials.inbound);
        const outbound = await startSide(env, 'outbound', credentials.outbound);
        await env.s2ds.updateTargets(outbound.uid, [inbound.address]);
        await run({ env, inbound, outbound }, credentials);
      },
    ),
  );
}

/** What becomes of a TLS client: what it hears, or why it hears nothing. It is the server that refuses a certificate. */
async function knock({ host, port }: Address, options: ConnectionOptions): Promise<string> {
  const socket = connect({ host, port, rejectUnauthorized: false, ...options });
  socket.on('error', () => socket.destroy());
  socket.write('let me in');
  return await read(socket, 1).catch(() => (socket.destroyed ? 'cut off' : 'closed'));
}

const identity = ({ certificate, key, ca }: StreamTls): ConnectionOptions => ({ cert: certificate, key, ca });

test('carries 16 MiB both ways at once unchanged, again and again', async ({ env, inbound, outbound }) => {
  const far: Promise<[Flow, Flow]>[] = [];
  const target = await env.server((socket) =>
    far.push(Promise.all([sendRandom(socket, 16 * MIB), receiveAll(socket)])),
  );
  await env.s2ds.updateTargets(inbound.uid, [target]);
  for (let round = 0; round < 8; round += 1) {
    const near = await env.dial(outbound.address);
    const [sent, received] = await Promise.all([sendRandom(near, 16 * MIB), receiveAll(near)]);
    assert.equal([received, sent], await far[round]);
  }
});

test('passes the end of one direction on and keeps the other open', async ({ env, inbound, outbound }) => {
  const answers = await env.server((socket) => {
    socket.resume().once('end', () => socket.end('answer'));
  });
  await env.s2ds.updateTargets(inbound.uid, [answers]);
  const asking = await env.dial(outbound.address);
  asking.end('question');
  assert.is(await read(asking, 6), 'answer');

  const heard: Promise<Flow>[] = [];
  const endsAtOnce = await env.server((socket) => {
    socket.end('bye');
    heard.push(receiveAll(socket));
  });
  await env.s2ds.updateTargets(inbound.uid, [endsAtOnce]);
  const talking = await env.dial(outbound.address);
  assert.is((await receiveAll(talking)).bytes, 3);
  const sent = await sendRandom(talking, MIB);
  assert.equal(await Promise.all(heard), [sent]);
});

s('a stranger is refused before the application hears of it', async ({ credentials, foreign }) => {
  await inProxyEnvironment(
    { create: (context) => new HaproxyContainer(context, HaproxyOptions.parse({})) },
    async (env) => {
      let accepted = 0;
      const target = await env.server((socket) => void ((accepted += 1), named('a')(socket)));
      const { uid, address } = await startSide(env, 'inbound', credentials.inbound);
      await env.s2ds.updateTargets(uid, [target]);
      assert.is(await knock(address, {}), 'cut off', 'without a certificate');
      assert.is(await knock(address, identity(foreign.outbound)), 'cut off', 'with a foreign certificate');
      const old = { ...identity(credentials.outbound), maxVersion: 'TLSv1.2' } as const;
      assert.is(await knock(address, old), 'cut off', 'with TLS 1.2');
      const plain = connectPlain(address).on('error', () => undefined);
      plain.end('no TLS at all');
      await once(plain.resume(), 'close');
      assert.is(accepted, 0);
      assert.is(await knock(address, identity(credentials.outbound)), 'a');
      assert.is(accepted, 1);
      const counted = (await env.s2ds.status(uid)).listeners[0];
      assert.is(counted?.connections, 1);
    },
  );
});

s('nothing is sent to a gateway that is not the one expected', async ({ credentials, foreign }) => {
  const cases = [
    { server: foreign.inbound, client: credentials.outbound },
    { server: credentials.other, client: credentials.outbound },
  ];
  for (const { server: own, client } of cases) {
    await inProxyEnvironment(
      { create: (context) => new HaproxyContainer(context, HaproxyOptions.parse({})) },
      async (env) => {
        const heard: string[] = [];
        let refused = 0;
        const other = createServer({ cert: own.certificate, key: own.key }, (socket) => {
          socket.on('data', (chunk) => heard.push(String(chunk))).on('error', () => (refused += 1));
        });
        other.on('tlsClientError', () => (refused += 1)).listen(0, '127.0.0.1');
        await once(other, 'listening');
        try {
          const bound = other.address();
          const { uid, address } = await startSide(env, 'outbound', client);
          await env.s2ds.updateTargets(uid, [
            { host: '127.0.0.1', port: typeof bound === 'object' && bound ? bound.port : 0 },
          ]);
          (await env.dial(address)).write('secret');
          await eventually(() => assert.ok(refused >= 1));
          assert.equal(heard, []);
        } finally {
          other.close();
        }
      },
    );
  }
});

test('TLS 1.3 with AES-128-GCM, and no session is ever resumed', async ({ env, inbound }, { outbound }) => {
  await env.s2ds.updateTargets(inbound.uid, [await env.server(named('a'))]);
  let last: Buffer | undefined;
  for (let i = 0; i < 3; i += 1) {
    const session = last ? { session: last } : {};
    const socket: TLSSocket = connect({
      ...inbound.address,
      ...identity(outbound),
      servername: outbound.peer,
      ...session,
    });
    socket.on('session', (offered: Buffer) => (last = offered)).on('error', () => undefined);
    assert.is(await read(socket, 1), 'a');
    assert.is(socket.authorized, true);
    assert.is(socket.getProtocol(), 'TLSv1.3');
    assert.is(socket.getCipher().name, 'TLS_AES_128_GCM_SHA256');
    assert.is(socket.isSessionReused(), false);
    socket.destroy();
  }
});

test('early connections are held on either side until the targets are known', async ({ env, inbound }, {
  outbound,
}) => {
  const later = await startSide(env, 'outbound', outbound);
  const early = await env.dial(later.address);
  early.write('early');
  await env.s2ds.updateTargets(later.uid, [inbound.address]);
  await eventually(async () => assert.is((await env.s2ds.status(inbound.uid)).listeners[0]?.open, 1));
  await env.s2ds.updateTargets(inbound.uid, [await env.server(echo)]);
  assert.is(await read(early, 5), 'early');
});

test('new targets under load refuse, cut and lose nothing', async ({ env, inbound, outbound }) => {
  const [a, b] = await Promise.all([env.server(named('a')), env.server(named('b'))]);
  await env.s2ds.updateTargets(inbound.uid, [a]);
  const old = await env.dial(outbound.address);
  assert.is(await read(old, 1), 'a');
  let done = false;
  const visitors = (async () => {
    const replies: string[] = [];
    while (!done) replies.push(await exchange(outbound.address, '!'));
    return replies;
  })();
  const flow = Promise.all([sendRandom(old, 32 * MIB), receiveAll(old)]);
  for (let i = 0; i < 10; i += 1) await env.s2ds.updateTargets(inbound.uid, [i % 2 ? a : b]);
  await env.s2ds.updateTargets(inbound.uid, [b]);
  const [sent, received] = await flow;
  done = true;
  for (const reply of await visitors) assert.match(reply, /^[ab]!$/);
  assert.equal(received, sent);
  assert.is(await exchange(outbound.address, '!'), 'b!');
});

test('the key is in a file that nobody else can read, and in no argument', async ({ env }, { inbound, outbound }) => {
  const instances = await env.runtime.list({});
  assert.is(instances.length, 2);
  for (const { name, pid } of instances) {
    const path = join(env.directory.path, 'instances', name);
    for (const file of await readdir(path)) assert.is((await stat(join(path, file))).mode & 0o777, 0o600, file);
    const pem = await readFile(join(path, 'tls.pem'), 'utf8');
    assert.ok([inbound, outbound].some(({ key }) => pem.includes(key.trim())));
    assert.not.match(await readFile(`/proc/${pid}/cmdline`, 'utf8'), 'PRIVATE KEY');
    assert.not.match(await readFile(join(path, '.instance.json'), 'utf8'), 'PRIVATE KEY');
  }
});

s.run();
