// suite: full
import { spawn } from 'node:child_process';
import { mkdir, readdir, readlink, realpath, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Home, REPOSITORY, resultOf } from './support/cli.js';

const EXAMPLE = join(REPOSITORY, 'examples', 'third-party-plugin');
const NAME = 'scistream-plugin-forward';

interface Listed {
  readonly name: string;
  readonly type: string;
  readonly state: string;
  readonly provides: { readonly id: string }[];
}

const s = suite<{ home: Home }>('plugin commands');

s.before.each(async (context) => {
  context.home = await Home.create();
});
s.after.each(({ home }) => home.remove());

/** Packs the example as its author would publish it. */
async function tarball(home: Home): Promise<string> {
  const { exitCode, stderr } = await resultOf(spawn('npm', ['pack', EXAMPLE], { cwd: home.path }));
  if (exitCode !== 0) throw new Error(stderr);
  return `./${NAME}-1.0.0.tgz`;
}

/** Makes a package, of the example's kind unless said otherwise. */
async function folder(home: Home, content: object, code = 'export default {};'): Promise<string> {
  await mkdir(join(home.path, 'made'), { recursive: true });
  const usual = { name: 'made', version: '1.0.0', type: 'module', exports: './index.js', oclif: {} };
  await writeFile(join(home.path, 'made', 'package.json'), JSON.stringify({ ...usual, ...content }));
  await writeFile(join(home.path, 'made', 'index.js'), code);
  return './made';
}

const provides = (id: string): object => ({
  apiVersion: 1,
  provides: [{ kind: 'proxy', id, summary: 'made for a test' }],
});

const listed = async (home: Home): Promise<Listed[]> => (await home.json('plugin', 'ls')) as Listed[];

s('lists the plugins that came with SciStream', async ({ home }) => {
  const haproxy = (await listed(home)).find(({ name }) => name === '@scistream/plugin-haproxy');
  assert.is(haproxy?.type, 'core');
  assert.equal(
    haproxy?.provides.map(({ id }) => id),
    ['haproxy'],
  );
});

s('a packed third-party plugin is installed, used, inspected and removed without a trace', async ({ home }) => {
  const file = await tarball(home);
  const installed = await home.json('plugin', 'install', file);
  assert.equal(installed, { name: NAME, version: '1.0.0', provides: [{ kind: 'proxy', id: 'forward' }] });
  const forward = (await listed(home)).find(({ name }) => name === NAME);
  assert.equal([forward?.type, forward?.state], ['user', 'ok']);

  const inspected = (await home.json('plugin', 'inspect', NAME)) as { state: string };
  assert.is(inspected.state, 'ok');
  const core = join(home.data, 'node_modules', '@scistream', 'core');
  assert.is(await realpath(core), join(REPOSITORY, 'core'), `${await readlink(core)} is not the host's core`);

  const proxies = (await home.json('proxies')) as { id: string }[];
  assert.ok(proxies.some(({ id }) => id === 'forward'));
  const checked = await home.run(['s2cs', '--check', '--facility', 'aps', '--proxy', 'forward']);
  assert.is(checked.exitCode, 0, checked.stderr);

  assert.equal(await home.json('plugin', 'uninstall', NAME), { name: NAME, removed: true });
  assert.not.ok((await listed(home)).some(({ name }) => name === NAME));
  assert.equal(await readdir(join(home.data, 'node_modules')).then((names) => names.filter((n) => n === NAME)), []);
  assert.not.ok((await readdir(home.data)).includes('packages'));
  assert.is((await home.failure('s2cs', '--check', '--proxy', 'forward')).code, 'SCI_PROXY_UNKNOWN');
});

s('a folder is installed as it is now: what happens to it later does not matter', async ({ home }) => {
  await home.json('plugin', 'install', await folder(home, { scistream: provides('made') }));
  await folder(home, { scistream: {} });
  const made = (await listed(home)).find(({ name }) => name === 'made');
  assert.equal([made?.state, made?.provides.map(({ id }) => id)], ['ok', ['made']]);
});

const refused: readonly [what: string, content: object, code: string][] = [
  ['without manifest', {}, 'SCI_PLUGIN_NO_MANIFEST'],
  ['with a wrong manifest', { scistream: { apiVersion: 1, provides: [] } }, 'SCI_PLUGIN_MANIFEST_INVALID'],
  ['for a later interface', { scistream: { apiVersion: 2, provides: [] } }, 'SCI_PLUGIN_API_UNSUPPORTED'],
  ['that provides what there is', { scistream: provides('relay') }, 'SCI_PLUGIN_DUPLICATE'],
  ['that oclif would not load', { oclif: undefined, scistream: provides('made') }, 'SCI_PLUGIN_MANIFEST_INVALID'],
  [
    'for another core',
    { scistream: provides('made'), peerDependencies: { '@scistream/core': '^99' } },
    'SCI_PLUGIN_CORE_MISMATCH',
  ],
];
for (const [what, content, expected] of refused) {
  s(`a package ${what} is refused and leaves nothing behind`, async ({ home }) => {
    const { exitCode, code } = await home.failure('plugin', 'install', await folder(home, content));
    assert.equal([exitCode, code], [3, expected]);
    assert.equal(await readdir(home.data), []);
  });
}

s('a refused package leaves what was installed before as it was', async ({ home }) => {
  await home.json('plugin', 'install', await folder(home, { scistream: provides('made') }));
  const { code } = await home.failure('plugin', 'install', await folder(home, { version: '2.0.0' }));
  assert.is(code, 'SCI_PLUGIN_NO_MANIFEST');
  const made = (await listed(home)).find(({ name }) => name === 'made');
  assert.equal([made?.state, made?.provides.map(({ id }) => id)], ['ok', ['made']]);
});

s('a plugin whose code is broken is shown as that, and disturbs nobody who does not ask for it', async ({ home }) => {
  const made = await folder(home, { scistream: provides('made') }, 'throw new Error("no luck");');
  await home.json('plugin', 'install', made);
  const { exitCode, stdout } = await home.run(['plugin', 'inspect', 'made', '--json']);
  const { state, error } = JSON.parse(stdout) as { state: string; error: { code: string } };
  assert.equal([exitCode, state, error.code], [3, 'broken', 'SCI_PLUGIN_LOAD_FAILED']);
  assert.is((await home.run(['s2cs', '--check'])).exitCode, 0);
  assert.is((await home.failure('s2cs', '--check', '--proxy', 'made')).code, 'SCI_PLUGIN_LOAD_FAILED');
});

s('says what is not there, and what stays', async ({ home }) => {
  assert.is((await home.failure('plugin', 'install', './absent.tgz')).code, 'SCI_PLUGIN_NOT_FOUND');
  assert.is((await home.failure('plugin', 'inspect', 'absent')).code, 'SCI_PLUGIN_NOT_FOUND');
  assert.is((await home.failure('plugin', 'uninstall', 'absent')).code, 'SCI_PLUGIN_NOT_FOUND');
  assert.is((await home.failure('plugin', 'uninstall', '@scistream/plugin-haproxy')).code, 'SCI_USAGE');
});

s.run();
