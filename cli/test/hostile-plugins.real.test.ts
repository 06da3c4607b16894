// suite: full
/** What plugins with hostile or broken code do to the commands that run it: nothing but their own failure. */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { freeRange } from '../../test/support/ports.js';
import { Home } from './support/cli.js';
import { linkPlugins, pluginCode, provides } from './support/made-plugin.js';

/** Code before that of a working plugin, by the name of the plugin. */
const IMPORTS = {
  'bad-loop': 'for (;;) {}',
  'bad-exit': 'process.exit(0);',
  'bad-timer': 'setTimeout(() => { throw new Error("late") }, 50);',
  'bad-rejection': 'void Promise.reject(new Error("unhandled"));',
  'bad-heap': 'const all = []; for (;;) all.push(new Array(100000).fill({}));',
  'bad-buffers': 'const all = []; for (let i = 0; i < 40; i += 1) all.push(Buffer.alloc(50 << 20, 1));',
  'bad-await': 'await new Promise(() => undefined);',
  'bad-throw': 'throw new Error("no luck");',
  'bad-stdout': 'console.log("hello");',
  'bad-flood': 'const all = "x".repeat(1 << 20); for (;;) process.stdout.write(all);',
} as const;

/** Bodies of `create`, by the name of the plugin. */
const CREATES = {
  'bad-create': 'throw new Error("no luck")',
  'bad-object': 'return {}',
  'bad-method': 'return { ...s2ds, release: undefined }',
  'bad-supports': 'return { ...s2ds, supports: { tcp: "yes" } }',
  'bad-creating': 'for (;;) {}',
} as const;

const HOSTILE: Readonly<Record<string, string>> = Object.fromEntries([
  ...Object.entries(IMPORTS).map(([name, code]) => [name, `${code}\n${pluginCode(name)}`]),
  ...Object.entries(CREATES).map(([name, body]) => [name, pluginCode(name, body)]),
]) as Record<string, string>;
const NAMES = Object.keys(HOSTILE);
/** One of each kind of failure. `proxies` runs all of them. */
const some = Object.fromEntries(
  ['bad-loop', 'bad-exit', 'bad-timer', 'bad-flood', 'bad-object'].map((name) => [name, HOSTILE[name] ?? '']),
);
const CODES = ['SCI_PLUGIN_FAILED', 'SCI_PLUGIN_LOAD_FAILED', 'SCI_PLUGIN_SHAPE'];

interface Listed {
  readonly id: string;
  readonly usable: boolean;
  readonly missing?: { readonly what: string; readonly how: readonly string[] };
}

const s = suite<{ home: Home }>('hostile plugins');

s.before.each(async (context) => {
  context.home = await Home.create();
});
s.after.each(({ home }) => home.remove());

s('proxies names every hostile plugin, and lists the others as usual', async ({ home }) => {
  await linkPlugins(home, { ...HOSTILE, good: pluginCode('good') });
  const { exitCode, stdout } = await home.run(['proxies', '--json']);
  assert.is(exitCode, 3);
  const proxies = JSON.parse(stdout) as Listed[];
  for (const name of NAMES) {
    const line = proxies.find(({ id }) => id === name);
    assert.is(line?.usable, false, name);
    assert.match(line?.missing?.what ?? '', name);
    assert.ok((line?.missing?.how.length ?? 0) > 0, name);
  }
  for (const id of ['relay', 'good']) assert.is(proxies.find((line) => line.id === id)?.usable, true, id);
});

s('inspect reports a hostile plugin as broken, and exits', async ({ home }) => {
  await linkPlugins(home, { ...some, good: pluginCode('good') });
  for (const name of Object.keys(some)) {
    const { exitCode, stdout } = await home.run(['plugin', 'inspect', name, '--json']);
    const { state, error } = JSON.parse(stdout) as { state: string; error: { code: string; message: string } };
    assert.equal([exitCode, state], [3, 'broken'], name);
    assert.ok(CODES.includes(error.code), name);
    assert.match(error.message, name);
  }
  assert.is(((await home.json('plugin', 'inspect', 'good')) as { state: string }).state, 'ok');
});

s('doctor names hostile plugins, and checks the rest', async ({ home }) => {
  await linkPlugins(home, { ...some, good: pluginCode('good') });
  const { first, last } = await freeRange(4);
  const file = join(home.path, 's2cs.conf');
  await writeFile(file, JSON.stringify({ facility: 'aps', gateways: [{ ports: `${first}-${last}` }] }));
  const { exitCode, stdout } = await home.run(['doctor', '--config', file, '--json']);
  assert.is(exitCode, 1);
  const { findings } = JSON.parse(stdout) as { findings: { check: string; level: string; message: string }[] };
  const named = findings.filter(({ check, level }) => check === 'plugin' && level === 'problem');
  assert.is(named.length, Object.keys(some).length);
  for (const name of Object.keys(some))
    assert.ok(
      named.some(({ message }) => message.startsWith(`${name} `)),
      name,
    );
  assert.is(findings.find(({ check }) => check === 'proxy')?.level, 'ok');
});

s('a hostile plugin is not installed, and leaves nothing behind', async ({ home }) => {
  for (const name of ['bad-exit', 'bad-timer', 'bad-object']) {
    const root = join(home.path, name);
    await mkdir(root);
    const content = { name, version: '1.0.0', type: 'module', exports: './index.js', oclif: {} };
    await writeFile(join(root, 'package.json'), JSON.stringify({ ...content, scistream: provides(name) }));
    await writeFile(join(root, 'index.js'), HOSTILE[name] ?? '');
    const { exitCode, code, message } = await home.failure('plugin', 'install', `./${name}`);
    assert.equal([exitCode, CODES.includes(code)], [3, true], code);
    assert.match(message, name);
    assert.equal(await readdir(home.data), []);
  }
});

s.run();
