// needs: stunnel
// suite: full
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress, LABELS } from '@scistream/core';
import {
  echo,
  eventually,
  exchange,
  expectCode,
  inProxyEnvironment,
  listener,
  named,
  read,
  receiveAll,
  sendRandom,
  temporaryDirectory,
  testCredentials,
  type Flow,
  type ProxyEnvironment,
  type TestCredentials,
} from '@scistream/core/testing';
import { StunnelContainer, StunnelOptions } from '@scistream/plugin-stunnel';
import { startPair } from './pair.js';

const MIB = 1024 * 1024;

const s = suite('stunnel');
let credentials: TestCredentials;
s.before(async () => {
  credentials = await testCredentials();
});

const withStunnel = (options: object, run: (env: ProxyEnvironment) => Promise<void>): Promise<void> =>
  inProxyEnvironment(
    { create: (context) => new StunnelContainer(context, StunnelOptions.parse(options)), holds: false },
    run,
  );

function test(name: string, run: (env: ProxyEnvironment) => Promise<void>, options: object = {}): void {
  s(name, () => withStunnel(options, run));
}

async function directoryOf(env: ProxyEnvironment, uid: string): Promise<string> {
  const [instance] = await env.runtime.list({ [LABELS.uid]: uid });
  assert.ok(instance);
  return join(env.directory.path, 'instances', instance.name);
}

/**
 * Sends random bytes to an echo server and ends only after all have returned. stunnel up to 5.78 loses bytes if a
 * blocked direction ends after the other has ended (github.com/mtrojnar/stunnel/pull/23).
 */
async function roundTrip(socket: Socket, bytes: number): Promise<void> {
  const data = randomBytes(bytes);
  const back: Buffer[] = [];
  let length = 0;
  socket.on('data', (chunk: Buffer) => {
    back.push(chunk);
    length += chunk.length;
    if (length >= bytes) socket.end();
  });
  socket.write(data);
  await finished(socket);
  assert.ok(Buffer.concat(back).equals(data), `${length} of ${bytes} bytes came back, or they differ`);
}

test('carries bytes both ways at the same time unchanged', async (env) => {
  const { address } = await startPair(env, await env.server(echo), credentials);
  await roundTrip(await env.dial(address), 24 * MIB);
});

test('carries 64 connections at the same time, each its own bytes', async (env) => {
  const { address } = await startPair(env, await env.server(echo), credentials);
  const sockets = await Promise.all(Array.from({ length: 64 }, () => env.dial(address)));
  await Promise.all(sockets.map((socket) => roundTrip(socket, MIB / 4)));
});

test('passes the end of one direction on and keeps the other open, both ways', async (env) => {
  const answersLate = await env.server((socket) => {
    socket.resume().once('end', () => void delay(500).then(() => socket.end('answer')));
  });
  const { prod, address } = await startPair(env, answersLate, credentials);
  const asking = await env.dial(address);
  asking.end('question');
  assert.is(await read(asking, 6), 'answer');

  const heard: Promise<string>[] = [];
  const endsAtOnce = await env.server((socket) => {
    socket.end('bye');
    heard.push(read(socket, 8));
  });
  await env.s2ds.updateTargets(prod.uid, [endsAtOnce]);
  const talking = await env.dial(address);
  assert.is((await receiveAll(talking)).bytes, 3);
  await delay(500);
  talking.end('question');
  assert.equal(await Promise.all(heard), ['question']);
});

test('makes a fast sender wait for a slow reader', async (env) => {
  const offered = 128 * MIB;
  let sent = 0;
  const flows: Promise<Flow>[] = [];
  const floods = await env.server((socket) => flows.push(sendRandom(socket, offered, (bytes) => (sent = bytes))));
  const { address } = await startPair(env, floods, credentials);
  const slow = await env.dial(address);
  let before = -1;
  await eventually(async () => {
    await delay(200);
    const grown = sent - before;
    before = sent;
    assert.ok(sent > 0 && grown === 0, `${sent} bytes were accepted, ${grown} of them just now`);
  });
  assert.ok(sent < offered);
  const received = await receiveAll(slow);
  assert.equal([received], await Promise.all(flows));
});

test('new targets on either side refuse no connection and keep connections and listeners', async (env) => {
  const [a, b] = await Promise.all([env.server(named('a')), env.server(named('b'))]);
  const { prod, cons, address } = await startPair(env, a, credentials);
  const other = await env.start({ tls: credentials.inbound });
  await env.s2ds.updateTargets(other.uid, [a]);
  const old = await env.dial(address);
  assert.is(await read(old, 1), 'a');
  let done = false;
  const visitors = (async () => {
    const replies: string[] = [];
    while (!done) replies.push(await exchange(address, '!'));
    return replies;
  })();
  try {
    for (let i = 0; i < 5; i += 1) {
      await env.s2ds.updateTargets(prod.uid, [i % 2 ? a : b]);
      assert.is(await exchange(address, '?'), i % 2 ? 'a?' : 'b?');
      await env.s2ds.updateTargets(cons.uid, [listener(i % 2 ? prod : other)]);
      assert.is(await exchange(address, '?'), 'a?');
      await env.s2ds.updateTargets(cons.uid, [listener(prod)]);
    }
  } finally {
    done = true;
  }
  for (const reply of await visitors) assert.match(reply, /^[ab]!$/);
  old.write('same one');
  assert.is(await read(old, 8), 'same one');
});

test('forwards each listener to its own target, over IPv6 too', async (env) => {
  const targets = await Promise.all([env.server(named('a')), env.server(named('b'), '::1'), env.server(named('c'))]);
  const shape = { connections: 3, host: '::1' };
  const prod = await env.start({ ...shape, tls: credentials.inbound });
  await env.s2ds.updateTargets(prod.uid, targets);
  const cons = await env.start({ role: 'outbound', tls: credentials.outbound, connections: 3 });
  await env.s2ds.updateTargets(
    cons.uid,
    prod.listeners.map(({ address }) => address),
  );
  const replies = await Promise.all([0, 1, 2].map((i) => exchange(listener(cons, i), String(i))));
  assert.equal(replies, ['a0', 'b1', 'c2']);
  const expected = [...prod.listeners, ...cons.listeners].map(({ address }) => formatAddress(address)).sort();
  assert.equal(await env.listening(), expected);
});

test('a connection before the target is set ends immediately', async (env) => {
  const prod = await env.start({ tls: credentials.inbound });
  const cons = await env.start({ role: 'outbound', tls: credentials.outbound });
  // The connection ends or is reset, possibly before `connect` is emitted.
  const comesEarly = (): Promise<unknown> =>
    env
      .dial(listener(cons))
      .then(receiveAll)
      .catch((error: NodeJS.ErrnoException) => assert.is.not(error.code, 'ECONNREFUSED'));
  await comesEarly();
  await env.s2ds.updateTargets(cons.uid, [listener(prod)]);
  await comesEarly();
  await env.s2ds.updateTargets(prod.uid, [await env.server(named('a'))]);
  assert.is(await exchange(listener(cons), '1'), 'a1');
});

test('is restarted with its targets after a kill', async (env) => {
  const { prod, cons, address } = await startPair(env, await env.server(named('a')), credentials);
  for (const { uid } of [prod, cons]) {
    await env.kill(uid);
    await eventually(async () => {
      assert.is((await env.s2ds.status(uid)).restarts, 1);
      assert.is((await env.s2ds.status(uid)).state, 'running');
    }, 15_000);
    assert.is(await exchange(address, '1'), 'a1');
  }
});

test('listens only on its address, sets keepalive and keeps its files private', async (env) => {
  const { prod, cons, address } = await startPair(env, await env.server(named('a')), credentials);
  const expected = [listener(prod), listener(cons)].map(formatAddress).sort();
  assert.equal(await env.listening(), expected);
  for (const { uid } of [prod, cons]) {
    const path = await directoryOf(env, uid);
    const names = await readdir(path);
    assert.ok(names.includes('key.pem'));
    for (const name of names) assert.is((await stat(join(path, name))).mode & 0o777, 0o600, name);
  }
  const socket = await env.dial(address);
  assert.is(await read(socket, 1), 'a');
  const { stdout } = await promisify(execFile)('ss', ['-tnoHe', `( sport = :${address.port} )`]);
  assert.match(stdout, /timer:\(keepalive,(29|30)sec/);
});

test(
  'the error names a missing program',
  async (env) => {
    await expectCode('SCI_EXECUTABLE_NOT_FOUND', env.start({ tls: credentials.inbound }));
    await env.expectNothingLeft();
  },
  { executable: 'stunnel-that-is-not-installed' },
);

test('a stream without encryption is rejected', async (env) => {
  await expectCode('SCI_PROXY_UNSUPPORTED', env.start());
  await env.expectNothingLeft();
});

test('credentials that stunnel rejects are reported with its error before anything runs', async (env) => {
  const request = env.start({ tls: { ...credentials.inbound, key: credentials.outbound.key } });
  const error = await request.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.instance(error, Error);
  assert.match((error as Error).message, /key values mismatch/);
  await env.expectNothingLeft();
});

test(
  'serves up to maxConnections connections and closes further ones',
  async (env) => {
    const { address } = await startPair(env, await env.server(named('a')), credentials);
    const open = async (): Promise<Socket> => {
      const socket = await env.dial(address);
      assert.is(await read(socket, 1), 'a');
      return socket;
    };
    const sockets = await Promise.all(Array.from({ length: 200 }, open));
    const further = await env.dial(address);
    assert.is((await receiveAll(further).catch(() => ({ bytes: 0 }))).bytes, 0);
    for (const socket of sockets) socket.destroy();
    await eventually(async () => assert.is(await exchange(address, '1'), 'a1'));
  },
  { maxConnections: 200 },
);

s('a custom template is used, and its errors are errors of the update', async () => {
  await using site = await temporaryDirectory();
  const template = await readFile(
    new URL('../stunnel/stunnel.conf.njk', import.meta.resolve('@scistream/templates')),
    'utf8',
  );
  const path = join(site.path, 'stunnel.conf.njk');
  const wrong = "{{ 'frob = 1' if services[0].connect == '127.0.0.1:9' else '' }}\n";
  await writeFile(path, `${template}${wrong}`);
  await withStunnel({ templates: site.path }, async (env) => {
    const { prod, address } = await startPair(env, await env.server(named('a')), credentials);
    await expectCode('SCI_PROXY_CONFIG_INVALID', env.s2ds.updateTargets(prod.uid, [{ host: '127.0.0.1', port: 9 }]));
    assert.is((await env.s2ds.status(prod.uid)).state, 'running');
    assert.is(await exchange(address, '1'), 'a1');
  });
});

s.run();
