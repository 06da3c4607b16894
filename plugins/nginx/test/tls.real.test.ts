// needs: nginx
// suite: full
import { once } from 'node:events';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, createServer, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Address, StreamTls } from '@scistream/core';
import {
  echo,
  eventually,
  exchange,
  listener,
  named,
  type ProxyEnvironment,
  read,
  receiveAll,
  sendRandom,
  testCredentials,
  type Flow,
} from '@scistream/core/testing';
import { childrenOf, onlyInstance, startWith, withNginx } from './support.js';

const MIB = 1024 * 1024;

const [ours, others] = await Promise.all([testCredentials(), testCredentials()]);

const s = suite('tls');

const test = (name: string, run: (env: ProxyEnvironment) => Promise<void>): void => s(name, () => withNginx({}, run));

/** Starts one side; returns where it listens. */
async function side(
  env: ProxyEnvironment,
  role: 'inbound' | 'outbound',
  target: Address,
  tls = ours[role],
): Promise<Address> {
  const request = await startWith(env, { role, tls });
  await env.s2ds.updateTargets(request.uid, [target]);
  return listener(request);
}

/** Both sides of a stream to a target; returns where consumers connect. */
const pair = async (env: ProxyEnvironment, target: Address): Promise<Address> =>
  side(env, 'outbound', await side(env, 'inbound', target));

/** Speaks TLS and says hello; resolves with what came back before the connection ended. */
function speak({ host, port }: Address, options: ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, servername: ours.outbound.peer, ca: ours.outbound.ca, ...options });
    socket.on('secureConnect', () => socket.write('hello'));
    socket.on('data', (data) => {
      resolve(String(data));
      socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => resolve('refused'));
  });
}

const identity = ({ certificate, key }: StreamTls): ConnectionOptions => ({ cert: certificate, key });

test('carries what two sides say to each other, unchanged', async (env) => {
  const far: Promise<[Flow, Flow]>[] = [];
  const target = await env.server((socket) =>
    far.push(Promise.all([sendRandom(socket, 16 * MIB), receiveAll(socket)])),
  );
  const near = await env.dial(await pair(env, target));
  const [sent, received] = await Promise.all([sendRandom(near, 16 * MIB), receiveAll(near)]);
  assert.equal([[received, sent]], await Promise.all(far));
});

test('passes the end of one direction on and keeps the other open', async (env) => {
  const answersAtEnd = await env.server((socket) => {
    socket.resume().once('end', () => socket.end('answer'));
  });
  const asking = await env.dial(await pair(env, answersAtEnd));
  asking.end('question');
  assert.is(await read(asking, 6), 'answer');

  const heard: Promise<Flow>[] = [];
  const endsAtOnce = await env.server((socket) => {
    socket.end('bye');
    heard.push(receiveAll(socket));
  });
  const talking = await env.dial(await pair(env, endsAtOnce));
  assert.is((await receiveAll(talking)).bytes, 3);
  const sent = await sendRandom(talking, MIB);
  assert.equal(await Promise.all(heard), [sent]);
});

test('speaks TLS 1.3 only, with the cipher that is preferred, and to whom the authority knows', async (env) => {
  let reached = 0;
  const target = await env.server((socket) => void ((reached += 1), echo(socket)));
  const address = await side(env, 'inbound', target);
  const strangers: ConnectionOptions[] = [
    {},
    identity(others.outbound),
    { ...identity(ours.outbound), maxVersion: 'TLSv1.2' },
  ];
  for (const stranger of strangers) assert.is(await speak(address, stranger), 'refused');
  const plain = await env.dial(address);
  plain.write('hello, in the clear\n');
  assert.is(await read(plain, 1).catch(() => 'refused'), 'refused');
  assert.is(reached, 0);

  assert.is(await speak(address, identity(ours.outbound)), 'hello');
  assert.is(reached, 1);
  const { host, port } = address;
  const socket = connect({
    host,
    port,
    servername: ours.outbound.peer,
    ca: ours.outbound.ca,
    ...identity(ours.outbound),
  });
  try {
    await once(socket, 'secureConnect');
    assert.is(socket.getProtocol(), 'TLSv1.3');
    assert.is(socket.getCipher().standardName, 'TLS_AES_128_GCM_SHA256');
  } finally {
    socket.destroy();
  }
});

test('connects to nobody but the other side of its stream', async (env) => {
  const accepted: TLSSocket[] = [];
  const impostor = createServer(
    { cert: ours.inbound.certificate, key: ours.inbound.key, ca: ours.inbound.ca },
    (socket) => {
      accepted.push(socket.on('error', () => socket.destroy()));
      socket.pipe(socket);
    },
  );
  impostor.listen(0, '127.0.0.1');
  await once(impostor, 'listening');
  const bound = impostor.address();
  const target = { host: '127.0.0.1', port: typeof bound === 'object' && bound ? bound.port : 0 };
  const reply = async (tls: StreamTls): Promise<string> => {
    const socket = await env.dial(await side(env, 'outbound', target, tls));
    socket.write('hello');
    return await read(socket, 5).catch(() => 'refused');
  };
  try {
    assert.is(await reply(ours.outbound), 'hello');
    assert.is(await reply({ ...ours.outbound, peer: 'another.test' }), 'refused');
    assert.is(await reply({ ...ours.outbound, ca: others.outbound.ca }), 'refused');
    assert.is(await reply({ ...ours.outbound, peer: ours.outbound.peer.slice(1) }), 'refused');
  } finally {
    for (const socket of accepted) socket.destroy();
    impostor.close();
  }
});

test('an update changes the target and keeps connections, and credentials are for the proxy alone', async (env) => {
  const [a, b] = [await env.server(named('a')), await env.server(named('b'))];
  const request = await startWith(env, { role: 'inbound', tls: ours.inbound });
  const { path, pid } = await onlyInstance(env);
  for (const name of ['certificate.pem', 'key.pem', 'ca.pem']) {
    assert.is((await stat(join(path, name))).mode & 0o777, 0o600);
  }
  assert.not.match(await readFile(`/proc/${pid}/cmdline`, 'utf8'), 'PRIVATE');
  await env.s2ds.updateTargets(request.uid, [a]);
  const address = await side(env, 'outbound', listener(request));
  const old = await env.dial(address);
  assert.is(await read(old, 1), 'a');
  await env.s2ds.updateTargets(request.uid, [b]);
  assert.is(await exchange(address, '1'), 'b1');
  old.write('still');
  assert.is(await read(old, 5), 'still');
  old.destroy();
  await eventually(async () => assert.is((await childrenOf(pid)).length, 1));
});

s.run();
