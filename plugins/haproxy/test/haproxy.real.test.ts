// suite: full
import { once } from 'node:events';
import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress, SciStreamError, type ListenerStatistics } from '@scistream/core';
import {
  eventually,
  exchange,
  expectCode,
  inProxyEnvironment,
  listener,
  named,
  type ProxyEnvironment,
  read,
  receiveAll,
  sendRandom,
  temporaryDirectory,
  type Flow,
} from '@scistream/core/testing';
import { HaproxyContainer, HaproxyOptions } from '@scistream/plugin-haproxy';
import { ask } from '@scistream/plugin-haproxy/internal';

type Options = Parameters<typeof HaproxyOptions.parse>[0];

const SIMULTANEOUS_BYTES = 24 * 1024 * 1024;
const SIMULTANEOUS_ROUNDS = 40;

const s = suite('haproxy');

/** Runs HAProxy on its own gateway; fails if a process, a port or a file is left behind. */
const withHaproxy = (options: Options, run: (env: ProxyEnvironment) => Promise<void>): Promise<void> =>
  inProxyEnvironment({ create: (context) => new HaproxyContainer(context, HaproxyOptions.parse(options)) }, run);

function test(name: string, run: (env: ProxyEnvironment) => Promise<void>, options: Options = {}): void {
  s(name, () => withHaproxy(options, run));
}

interface Place {
  readonly name: string;
  readonly path: string;
}

const instances = async (env: ProxyEnvironment): Promise<readonly Place[]> =>
  (await env.runtime.list({})).map(({ name }) => ({ name, path: join(env.directory.path, 'instances', name) }));

async function instanceDirectory(env: ProxyEnvironment): Promise<Place> {
  const [instance, ...others] = await instances(env);
  assert.ok(instance);
  assert.is(others.length, 0);
  return instance;
}

const counters = async (env: ProxyEnvironment, uid: string): Promise<ListenerStatistics | undefined> =>
  (await env.s2ds.status(uid)).listeners[0];

/** Connections, open connections, bytes in and out, and errors of the first listener. */
async function totals(env: ProxyEnvironment, uid: string): Promise<readonly (number | undefined)[]> {
  const counted = await counters(env, uid);
  return [counted?.connections, counted?.open, counted?.bytesIn, counted?.bytesOut, counted?.errors];
}

test(
  'options that HAProxy rejects are reported with its error before anything runs',
  async (env) => {
    const error: unknown = await env.start().catch((reason: unknown) => reason);
    assert.ok(SciStreamError.is(error));
    assert.is(error.code, 'SCI_PROXY_CONFIG_INVALID');
    assert.match(error.message, 'bufsize must be below 256 MB');
    await env.expectNothingLeft();
  },
  { bufferSize: 2 ** 30 },
);

/** HAProxy 2.6 with epoll truncated about one in eight connections of this kind. */
test('connections whose two directions end at the same time lose nothing', async (env) => {
  const far: Promise<[Flow, Flow]>[] = [];
  const target = await env.server((socket) =>
    far.push(Promise.all([sendRandom(socket, SIMULTANEOUS_BYTES), receiveAll(socket)])),
  );
  const { address } = await env.startTo(target);
  for (let round = 0; round < SIMULTANEOUS_ROUNDS; round += 1) {
    const near = await env.dial(address);
    const [sent, received] = await Promise.all([sendRandom(near, SIMULTANEOUS_BYTES), receiveAll(near)]);
    assert.equal([received, sent], await far[round]);
  }
});

test(
  'the error names a missing program',
  async (env) => {
    await expectCode('SCI_EXECUTABLE_NOT_FOUND', env.start());
    await env.expectNothingLeft();
  },
  { executable: 'haproxy-that-is-not-installed' },
);

test('an injected command never reaches the runtime socket', async (env) => {
  await env.start();
  const ref = await instanceDirectory(env);
  for (const word of ['info;disable server b0/s0', 'info\ndisable server b0/s0', 'info\r', 'a b', '<<', '']) {
    await expectCode('SCI_PROXY_COMMAND_FAILED', ask(env.runtime, ref, ['show', word]));
  }
  assert.match(await ask(env.runtime, ref, ['show', 'info']), /^Name: HAProxy$/m);
});

test('it listens only on the given address, and the files are private', async (env) => {
  const request = await env.start({ connections: 2 });
  await env.s2ds.updateTargets(request.uid, [{ host: '127.0.0.1', port: 9 }]);
  assert.equal(await env.listening(), request.listeners.map(({ address }) => formatAddress(address)).sort());
  for (const { path } of await instances(env)) {
    const names = await readdir(path);
    const modes = await Promise.all(
      names.map(async (name) => ((await stat(join(path, name))).mode & 0o777).toString(8)),
    );
    assert.ok(names.includes('haproxy.cfg') && names.includes('haproxy.sock'));
    assert.equal(new Set(modes), new Set(['600']));
    assert.is((await stat(path)).mode & 0o777, 0o700);
  }
});

test('the configuration file always matches the running state', async (env) => {
  const target = await env.server(named('a'));
  const { uid } = await env.startTo({ host: '192.0.2.1', port: 9 });
  await env.s2ds.updateTargets(uid, [target]);
  const { path } = await instanceDirectory(env);
  assert.match(await readFile(join(path, 'haproxy.cfg'), 'utf8'), `server s0 ${formatAddress(target)} backup`);
});

test('an early client that leaves without sending never reaches the application', async (env) => {
  const request = await env.start();
  const { uid } = request;
  const address = listener(request);
  const leave = async (go: (socket: Socket) => void, afterMs: number): Promise<void> => {
    const socket = await env.dial(address);
    await delay(afterMs);
    go(socket);
  };
  const ways = [
    (socket: Socket) => void socket.end(),
    (socket: Socket) => void socket.destroy(),
    (socket: Socket) => void socket.resetAndDestroy(),
  ];
  // First immediately, then within HAProxy's pause of one second between two attempts.
  await Promise.all([0, 1_400].flatMap((afterMs) => ways.map((go) => leave(go, afterMs))));
  await eventually(async () => {
    const counted = await counters(env, uid);
    assert.equal([counted?.connections, counted?.open], [6, 0]);
  });

  const heard: string[] = [];
  const target = await env.server((socket) => socket.on('data', (chunk) => heard.push(String(chunk))).end('once'));
  await env.s2ds.updateTargets(uid, [target]);
  const stays = await env.dial(address);
  stays.write('I stay');
  assert.is(await read(stays, 4), 'once');
  await eventually(() => assert.equal(heard, ['I stay']));
});

test('an early client that has half-closed is served when the target is set', async (env) => {
  const request = await env.start();
  const early = await env.dial(listener(request));
  early.end('question');
  const answers = await env.server((socket) => {
    socket.resume().once('end', () => socket.end('answer'));
  });
  await env.s2ds.updateTargets(request.uid, [answers]);
  assert.is(await read(early, 6), 'answer');
});

test('a client is held until the application listens', async (env) => {
  const application = createServer((socket) => socket.end('at last')).listen({ host: '127.0.0.1', port: 0 });
  await once(application, 'listening');
  const bound = application.address();
  const target = { host: '127.0.0.1', port: typeof bound === 'object' && bound ? bound.port : 0 };
  await new Promise((done) => application.close(done));
  const { address } = await env.startTo(target);
  const early = await env.dial(address);
  application.listen(target);
  try {
    assert.is(await read(early, 7), 'at last');
  } finally {
    application.close();
  }
});

test('a connection reset by the target counts as one error', async (env) => {
  const { uid, address } = await env.startTo(
    await env.server((socket) => socket.once('data', () => socket.resetAndDestroy())),
  );
  const socket = await env.dial(address);
  socket.write('x');
  await once(socket.resume(), 'end');
  socket.destroy();
  await eventually(async () => {
    assert.equal(await totals(env, uid), [1, 0, 1, 0, 1]);
    assert.is((await counters(env, uid))?.failures?.resetByProducer, 1);
  });
});

test('counters never decrease while connections open and close, and are exact at the end', async (env) => {
  const { uid, address } = await env.startTo(await env.server(named('a')));
  const visits = Promise.all(
    Array.from({ length: 4 }, async () => {
      for (let i = 0; i < 50; i += 1) await exchange(address, 'four');
    }),
  );
  let finished = false;
  const watch = (async () => {
    const seen: number[] = [];
    while (!finished) seen.push((await counters(env, uid))?.bytesIn ?? 0);
    return seen;
  })();
  await visits.finally(() => (finished = true));
  const seen = await watch;
  assert.equal(
    seen,
    [...seen].sort((a, b) => a - b),
  );
  await eventually(async () => {
    assert.equal(await totals(env, uid), [200, 0, 800, 1_000, 0]);
  });
});

s('works with a low limit of open files', async () => {
  await using scratch = await temporaryDirectory();
  const executable = join(scratch.path, 'haproxy');
  await writeFile(executable, '#!/bin/sh\nulimit -n 300\nexec haproxy "$@"\n');
  await chmod(executable, 0o700);
  await withHaproxy({ executable, maxConnections: 512 }, async (env) => {
    const { address } = await env.startTo(await env.server(named('a')));
    assert.is(await exchange(address, '1'), 'a1');
  });
});

s('a custom template is used, and a server that it lacks is an error of the update', async () => {
  await using site = await temporaryDirectory();
  const lines = ['global', '  stats socket unix@{{ socket }} mode 600 level admin', 'listen mine', '  mode tcp'];
  // Like the standard template: the sockets are inherited, and `haproxy -c` runs without them.
  const bind = ['  .if !defined({{ checkVariable }})', '    bind fd@{{ listeners[0].fd }}', '  .endif'];
  await writeFile(join(site.path, 'haproxy.cfg.njk'), [...lines, ...bind, ''].join('\n'));
  await withHaproxy({ templates: site.path }, async (env) => {
    const { uid } = await env.start();
    const { path } = await instanceDirectory(env);
    assert.match(await readFile(join(path, 'haproxy.cfg'), 'utf8'), 'listen mine');
    await expectCode('SCI_PROXY_COMMAND_FAILED', env.s2ds.updateTargets(uid, [{ host: '127.0.0.1', port: 9 }]));
    assert.is((await env.s2ds.status(uid)).state, 'running');
  });
});

test('a restarted program counts from zero', async (env) => {
  const { uid, address } = await env.startTo(await env.server(named('a')));
  assert.is(await exchange(address, 'four'), 'afour');
  await eventually(async () => assert.is((await counters(env, uid))?.bytesIn, 4));
  await env.kill(uid);
  await eventually(async () => assert.is((await env.s2ds.status(uid)).restarts, 1));
  assert.is(await exchange(address, '1'), 'a1');
  await eventually(async () => {
    assert.equal(await totals(env, uid), [1, 0, 1, 2, 0]);
  });
});

s.run();
