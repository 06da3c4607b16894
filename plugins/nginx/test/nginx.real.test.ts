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

/** That work fails with the code and in words that tell what is wrong. */
async function expectWords(code: ErrorCode, words: string, work: Promise<unknown>): Promise<void> {
  const error: unknown = await work.catch((reason: unknown) => reason);
  assert.ok(S2DSException.is(error), String(error));
  assert.is(error.code, code, error.message);
  assert.match(error.message, words);
}

for (const transport of ['tcp', 'udp'] as const) {
  test(
    `a missing program is named (${transport})`,
    async (env) => {
      const program = 'nginx-that-is-not-installed';
      await expectWords('SCI_EXECUTABLE_NOT_FOUND', program, env.start({ transport }));
      await env.expectNothingLeft();
    },
    { executable: 'nginx-that-is-not-installed' },
  );
}

test(
  'a missing module is named',
  async (env) => {
    await expectWords('SCI_PROXY_CONFIG_INVALID', '/nowhere/ngx_stream_module.so', env.start());
    await env.expectNothingLeft();
  },
  { module: '/nowhere/ngx_stream_module.so' },
);

test('nothing but the given address is listened on, and nobody else can read the files', async (env) => {
  const request = await env.start({ count: 2 });
  await env.s2ds.updateTargets(request.uid, [NO_TARGET]);
  assert.equal(await env.listening(), request.listeners.map(({ address }) => formatAddress(address)).sort());
  const { path } = await onlyInstance(env);
  assert.is((await stat(path)).mode & 0o777, 0o700);
  // What Nginx makes itself is readable in a directory that nobody else can enter.
  assert.equal(
    new Set(await readdir(path)),
    new Set(['.instance.json', 'log', 'nginx.conf', 'nginx.conf.next', 'nginx.pid', 'nginx.sock']),
  );
  assert.is((await stat(join(path, 'nginx.conf'))).mode & 0o777, 0o600);
});

test('updates leave no old worker without connections', async (env) => {
  const target = await env.server(named('a'));
  const { uid, address } = await env.startTo(target);
  const { pid } = await onlyInstance(env);
  for (let i = 0; i < UPDATES; i += 1) await env.s2ds.updateTargets(uid, [target]);
  await eventually(async () => assert.is((await childrenOf(pid)).length, 1));
  assert.is(await exchange(address, '1'), 'a1');
});

test('an old worker stays as long as it has a connection, and release ends them all', async (env) => {
  const target = await env.server(named('a'));
  const { uid, address } = await env.startTo(target);
  const { pid } = await onlyInstance(env);
  const live = [];
  for (let i = 0; i < UPDATES; i += 1) {
    // Two of each of three generations.
    if ([0, 7, 14].includes(i)) live.push(await env.dial(address), await env.dial(address));
    for (const socket of live.slice(-2)) if (i % 7 === 0) assert.is(await read(socket, 1), 'a');
    await env.s2ds.updateTargets(uid, [target]);
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

test('a master that is killed takes its workers along, and the stream goes on', async (env) => {
  const target = await env.server(named('a'));
  const { uid, address } = await env.startTo(target);
  const { pid } = await onlyInstance(env);
  const open = await env.dial(address);
  assert.is(await read(open, 1), 'a');
  const [worker] = await childrenOf(pid);
  await env.kill(uid);
  await eventually(async () => assert.is((await env.s2ds.status(uid)).restarts, 1));
  assert.is((await env.s2ds.status(uid)).state, 'running');
  // Empty when it is gone, and of a zombie.
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

test('a reload that Nginx refuses is told in its own words, and the old target stays', async (env) => {
  const { uid, address } = await env.startTo(await env.server(named('a')));
  const { pid } = await onlyInstance(env);
  const signal = env.runtime.signal.bind(env.runtime);
  // Once, as if the file had been damaged after it was checked.
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

test('clients that are turned away do not keep an update from being noticed', async (env) => {
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

s('workers that share a listener all serve it, and all follow an update', () =>
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

/** A template of a site that Nginx accepts as long as there is no target. */
const BROKEN_WITH_TARGET = `{% if listeners[0].target %}nonsense {{ listeners[0].target }};{% endif %}`;
const template = (tail: string): string =>
  [
    '{% if module %}load_module {{ module }};{% endif %}',
    'daemon off; pid nginx.pid; error_log stderr notice; worker_processes 2; events {}',
    'stream { server { listen unix:{{ control }}; return $pid; }',
    `server { listen {{ listeners[0].address }}; return 'site'; } ${tail} }`,
  ].join('\n');

s("a site's own template is used, with more workers too, and what is wrong in it is told", async () => {
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
