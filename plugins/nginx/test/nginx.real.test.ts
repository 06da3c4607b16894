// needs: nginx
// suite: full
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress, S2DSException, type ErrorCode } from '@scistream/core';
import {
  eventually,
  exchange,
  expectCode,
  listener,
  named,
  type ProxyEnvironment,
  read,
  temporaryDirectory,
} from '@scistream/core/testing';
import { childrenOf, onlyInstance, withNginx } from './support.js';

type Options = Parameters<typeof withNginx>[0];

const UPDATES = 20;
const NO_TARGET = { host: '127.0.0.1', port: 9 };

const s = suite('nginx');

function test(name: string, run: (env: ProxyEnvironment) => Promise<void>, options: Options = {}): void {
  s(name, () => withNginx(options, run));
}

/** Asserts that work fails with this code and a message that matches. */
async function expectWords(code: ErrorCode, words: string, work: Promise<unknown>): Promise<void> {
  const error: unknown = await work.catch((reason: unknown) => reason);
  assert.ok(S2DSException.is(error), String(error));
  assert.is(error.code, code, error.message);
  assert.match(error.message, words);
}

for (const transport of ['tcp', 'udp'] as const) {
  test(
    `the error names a missing program (${transport})`,
    async (env) => {
      const program = 'nginx-that-is-not-installed';
      await expectWords('SCI_EXECUTABLE_NOT_FOUND', program, env.start({ transport }));
      await env.expectNothingLeft();
    },
    { executable: 'nginx-that-is-not-installed' },
  );
}

test(
  'the error names a missing module',
  async (env) => {
    await expectWords('SCI_PROXY_CONFIG_INVALID', '/nowhere/ngx_stream_module.so', env.start());
    await env.expectNothingLeft();
  },
  { module: '/nowhere/ngx_stream_module.so' },
);

test('it listens only on the given address, and the files are private', async (env) => {
  const request = await env.start({ connections: 2 });
  await env.s2ds.updateTargets(request.uid, [NO_TARGET]);
  assert.equal(await env.listening(), request.listeners.map(({ address }) => formatAddress(address)).sort());
  const { path } = await onlyInstance(env);
  assert.is((await stat(path)).mode & 0o777, 0o700);
  // Files created by Nginx may be readable, because the directory is private.
  assert.equal(
    new Set(await readdir(path)),
    new Set(['.instance.json', 'log', 'nginx.conf', 'nginx.conf.next', 'nginx.pid', 'nginx.sock']),
  );
  assert.is((await stat(join(path, 'nginx.conf'))).mode & 0o777, 0o600);
});

test('an old worker without connections ends after an update', async (env) => {
  const target = await env.server(named('a'));
  const { uid, address } = await env.startTo(target);
  const { pid } = await onlyInstance(env);
  for (let i = 0; i < UPDATES; i += 1) await env.s2ds.updateTargets(uid, [i % 2 ? target : NO_TARGET]);
  await eventually(async () => assert.is((await childrenOf(pid)).length, 1));
  assert.is(await exchange(address, '1'), 'a1');
});

test('an old worker ends with its last connection, and release ends all workers', async (env) => {
  const targets = [await env.server(named('a')), await env.server(named('a'))];
  const { uid, address } = await env.startTo(targets[1] ?? NO_TARGET);
  const { pid } = await onlyInstance(env);
  const live = [];
  for (let i = 0; i < UPDATES; i += 1) {
    // Two of each of three generations.
    if ([0, 7, 14].includes(i)) live.push(await env.dial(address), await env.dial(address));
    for (const socket of live.slice(-2)) if (i % 7 === 0) assert.is(await read(socket, 1), 'a');
    await env.s2ds.updateTargets(uid, [targets[i % 2] ?? NO_TARGET]);
  }
  await eventually(async () => assert.is((await childrenOf(pid)).length, 4));
  for (const socket of live) {
    socket.write('still');
    assert.is(await read(socket, 5), 'still');
  }
  for (const socket of live.slice(0, 2)) socket.destroy();
  await eventually(async () => assert.is((await childrenOf(pid)).length, 3));
  await env.s2ds.release(uid);
  await env.expectNothingLeft();
});

test('updates without a change start no worker, however many connections are open', async (env) => {
  const target = await env.server(named('a'));
  const { uid, address } = await env.startTo(target);
  const { pid } = await onlyInstance(env);
  const [worker] = await childrenOf(pid);
  for (let i = 0; i < UPDATES; i += 1) {
    assert.is(await read(await env.dial(address), 1), 'a');
    await env.s2ds.updateTargets(uid, [target]);
  }
  assert.equal(await childrenOf(pid), [worker]);
});

test(
  'old workers with connections are bounded: a further update is rejected and changes nothing',
  async (env) => {
    const targets = [await env.server(named('a')), await env.server(named('b'))];
    const at = (i: number) => targets[i % 2] ?? NO_TARGET;
    const { uid, address } = await env.startTo(at(0));
    const { pid } = await onlyInstance(env);
    const open = [];
    for (let i = 0; i < 3; i += 1) {
      const socket = await env.dial(address);
      assert.is(await read(socket, 1), i % 2 ? 'b' : 'a');
      open.push(socket);
      await env.s2ds.updateTargets(uid, [at(i + 1)]);
    }
    await expectCode('SCI_LIMIT_REACHED', env.s2ds.updateTargets(uid, [at(4)]));
    assert.is((await childrenOf(pid)).length, 4);
    assert.is(await exchange(address, '1'), 'b1');
    for (const socket of open) {
      socket.write('still');
      assert.is(await read(socket, 5), 'still');
    }
    open[0]?.destroy();
    await eventually(() => env.s2ds.updateTargets(uid, [at(4)]));
    assert.is(await exchange(address, '2'), 'a2');
  },
  { oldWorkers: 3 },
);

test('the workers of a killed master end, and the stream recovers', async (env) => {
  const target = await env.server(named('a'));
  const { uid, address } = await env.startTo(target);
  const { pid } = await onlyInstance(env);
  const open = await env.dial(address);
  assert.is(await read(open, 1), 'a');
  const [worker] = await childrenOf(pid);
  await env.kill(uid);
  await eventually(async () => assert.is((await env.s2ds.status(uid)).restarts, 1));
  assert.is((await env.s2ds.status(uid)).state, 'running');
  // Empty for a process that is gone and for a zombie.
  assert.is(await readFile(`/proc/${worker}/cmdline`, 'utf8').catch(() => ''), '');
  assert.is(await exchange(address, '1'), 'a1');
  await env.s2ds.updateTargets(uid, [await env.server(named('b'))]);
  assert.is(await exchange(address, '2'), 'b2');
});

test('a worker that is killed is replaced by its master', async (env) => {
  const { uid, address } = await env.startTo(await env.server(named('a')));
  const { pid } = await onlyInstance(env);
  const [worker] = await childrenOf(pid);
  process.kill(worker ?? 0, 'SIGKILL');
  assert.is(await exchange(address, '1'), 'a1');
  await env.s2ds.updateTargets(uid, [await env.server(named('b'))]);
  assert.is(await exchange(address, '2'), 'b2');
  assert.is((await env.s2ds.status(uid)).restarts, 0);
});

test('a reload that Nginx rejects is reported with its error, and the old target stays', async (env) => {
  const { uid, address } = await env.startTo(await env.server(named('a')));
  const { pid } = await onlyInstance(env);
  const signal = env.runtime.signal.bind(env.runtime);
  // Once, as if the file had been damaged after the check.
  env.runtime.signal = async (ref, name) => {
    env.runtime.signal = signal;
    await env.runtime.putFiles(ref, { 'nginx.conf': 'nonsense;' });
    await signal(ref, name);
  };
  const update = env.s2ds.updateTargets(uid, [NO_TARGET]);
  await expectWords('SCI_PROXY_COMMAND_FAILED', 'unknown directive "nonsense"', update);
  assert.is(await exchange(address, '1'), 'a1');
  assert.is((await onlyInstance(env)).pid, pid);
});

test('rejected clients do not hide an update', async (env) => {
  const { uid, address } = await env.startTo(NO_TARGET);
  const server = await env.server(named('b'));
  let done = false;
  const visitors = Promise.all(
    Array.from({ length: 4 }, async () => {
      while (!done) await exchange(address, '!').catch((error: unknown) => assert.instance(error, Error));
    }),
  );
  try {
    for (const target of [NO_TARGET, server, NO_TARGET, server]) await env.s2ds.updateTargets(uid, [target]);
    assert.is(await exchange(address, '1'), 'b1');
  } finally {
    done = true;
    await visitors;
  }
});

s('all workers of a shared listener serve it and apply updates', () =>
  withNginx({ workers: 3 }, async (env) => {
    const request = await env.start();
    const { pid } = await onlyInstance(env);
    for (const name of ['a', 'b', 'c']) {
      await env.s2ds.updateTargets(request.uid, [await env.server(named(name))]);
      const visits = Array.from({ length: 60 }, (_, i) => exchange(listener(request), `${i}`));
      assert.equal(
        await Promise.all(visits),
        visits.map((_, i) => `${name}${i}`),
      );
    }
    await eventually(async () => assert.is((await childrenOf(pid)).length, 3));
  }),
);

/** A custom template that Nginx accepts only without a target. */
const BROKEN_WITH_TARGET = `{% if listeners[0].target %}nonsense {{ listeners[0].target }};{% endif %}`;
const template = (tail: string): string =>
  [
    '{% if module %}load_module {{ module }};{% endif %}',
    'daemon off; pid nginx.pid; error_log stderr notice; worker_processes 2; events {}',
    'stream { server { listen unix:{{ control }}; return $pid; }',
    `server { listen {{ listeners[0].address }}; return 'site'; } ${tail} }`,
  ].join('\n');

s('a custom template is used, also with several workers, and its errors are reported', async () => {
  await using site = await temporaryDirectory();
  const file = join(site.path, 'nginx.conf.njk');
  await writeFile(file, template(BROKEN_WITH_TARGET));
  await withNginx({ templates: site.path }, async (env) => {
    const request = await env.start();
    const talk = async (): Promise<string> => read(await env.dial(listener(request)), 4);
    assert.is(await talk(), 'site');
    const update = (): Promise<void> => env.s2ds.updateTargets(request.uid, [NO_TARGET]);
    await expectWords('SCI_PROXY_CONFIG_INVALID', 'unknown directive "nonsense"', update());
    assert.is((await env.s2ds.status(request.uid)).state, 'running');
    assert.is(await talk(), 'site');
  });
  await writeFile(file, template(''));
  await withNginx({ templates: site.path }, async (env) => {
    const { uid } = await env.start();
    const { pid } = await onlyInstance(env);
    await env.s2ds.updateTargets(uid, [NO_TARGET]);
    await eventually(async () => assert.is((await childrenOf(pid)).length, 2));
  });
  await writeFile(file, template('{'));
  await withNginx({ templates: site.path }, async (env) => {
    await expectCode('SCI_PROXY_CONFIG_INVALID', env.start());
    await env.expectNothingLeft();
  });
});

s.run();
