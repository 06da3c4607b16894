// suite: full
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, readlink, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Home, REPOSITORY, resultOf } from './support/cli.js';
import { linkPlugins, pluginCode, provides } from './support/made-plugin.js';
import { Registry } from './support/registry.js';

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

/** Packs the example like its published package. */
async function tarball(home: Home): Promise<string> {
  const { exitCode, stderr } = await resultOf(spawn('npm', ['pack', EXAMPLE], { cwd: home.path }));
  if (exitCode !== 0) throw new Error(stderr);
  return `./${NAME}-1.0.0.tgz`;
}

/** Creates a package, by default of the same kind as the example. */
async function folder(home: Home, content: object, code = pluginCode('made')): Promise<string> {
  await mkdir(join(home.path, 'made'), { recursive: true });
  const usual = { name: 'made', version: '1.0.0', type: 'module', exports: './index.js', oclif: {} };
  await writeFile(join(home.path, 'made', 'package.json'), JSON.stringify({ ...usual, ...content }));
  await writeFile(join(home.path, 'made', 'index.js'), code);
  return './made';
}

const codeIn = (stdout: string): string => (JSON.parse(stdout) as { error: { code: string } }).error.code;

const listed = async (home: Home): Promise<Listed[]> => (await home.json('plugin', 'ls')) as Listed[];

s('lists the bundled plugins', async ({ home }) => {
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

s('a folder is installed as a copy: later changes have no effect', async ({ home }) => {
  await home.json('plugin', 'install', await folder(home, { scistream: provides('made') }));
  await folder(home, { scistream: {} });
  const made = (await listed(home)).find(({ name }) => name === 'made');
  assert.equal([made?.state, made?.provides.map(({ id }) => id)], ['ok', ['made']]);
});

const refused: readonly [what: string, content: object, code: string][] = [
  ['without manifest', {}, 'SCI_PLUGIN_NO_MANIFEST'],
  ['with a wrong manifest', { scistream: { apiVersion: 1, provides: [] } }, 'SCI_PLUGIN_MANIFEST_INVALID'],
  ['for a later interface', { scistream: { apiVersion: 2, provides: [] } }, 'SCI_PLUGIN_API_UNSUPPORTED'],
  ['that provides an existing name', { scistream: provides('relay') }, 'SCI_PLUGIN_DUPLICATE'],
  ['that oclif would not load', { oclif: undefined, scistream: provides('made') }, 'SCI_PLUGIN_MANIFEST_INVALID'],
  [
    'for another core',
    { scistream: provides('made'), peerDependencies: { '@scistream/core': '^99' } },
    'SCI_PLUGIN_CORE_MISMATCH',
  ],
];
for (const [what, content, expected] of refused) {
  s(`a package ${what} is rejected and leaves nothing behind`, async ({ home }) => {
    const { exitCode, code } = await home.failure('plugin', 'install', await folder(home, content));
    assert.equal([exitCode, code], [3, expected]);
    assert.equal(await readdir(home.data), []);
  });
}

/** Scripts that npm could run for a package, each of which leaves a file. */
function traps(home: Home): object {
  const steps = ['preinstall', 'install', 'postinstall', 'prepack', 'postpack', 'prepare', 'preuninstall', 'uninstall'];
  return { scripts: Object.fromEntries(steps.map((step) => [step, `touch ${join(home.path, 'ran-')}${step}`])) };
}

const scriptsRun = async (home: Home): Promise<readonly string[]> =>
  (await readdir(home.path)).filter((name) => name.startsWith('ran-'));

s('no script of a package ever runs, whatever the settings of npm', async ({ home }) => {
  const env = { npm_config_ignore_scripts: 'false', NPM_CONFIG_IGNORE_SCRIPTS: 'false' };
  const install = async (content: object): Promise<number | null> =>
    (await home.run(['plugin', 'install', await folder(home, { ...traps(home), ...content })], env)).exitCode;
  assert.is(await install({}), 3, 'refused, because it is no plugin');
  assert.is(await install({ scistream: provides('made') }), 0);
  assert.is((await home.run(['plugin', 'uninstall', 'made'], env)).exitCode, 0);
  assert.equal(await scriptsRun(home), []);
});

s('a package of the registry is checked before it is unpacked, and its scripts never run', async ({ home }) => {
  const registry = await Registry.start(home);
  try {
    const env = { npm_config_registry: registry.url };
    await registry.offer(await folder(home, { ...traps(home), name: 'scistream-plugin-no' }));
    const { exitCode, stdout } = await home.run(['plugin', 'install', 'scistream-plugin-no', '--json'], env);
    assert.equal([exitCode, codeIn(stdout)], [3, 'SCI_PLUGIN_NO_MANIFEST']);
    assert.equal(await readdir(home.data), []);
    const good = { ...traps(home), name: 'scistream-plugin-yes', scistream: provides('made') };
    await registry.offer(await folder(home, good));
    const { stderr, exitCode: ended } = await home.run(['plugin', 'install', 'scistream-plugin-yes@1.0.0'], env);
    assert.is(ended, 0, stderr);
    assert.ok((await listed(home)).some(({ name, state }) => name === 'scistream-plugin-yes' && state === 'ok'));
    assert.equal(await scriptsRun(home), []);
  } finally {
    await registry.stop();
  }
});

s('short names and names of SciStream are never looked up in a registry', async ({ home }) => {
  const registry = await Registry.start(home);
  try {
    const env = { npm_config_registry: registry.url };
    for (const name of ['haproxy', '@scistream/plugin-haproxy', 'haproxy@9.9.9']) {
      const { exitCode, stdout } = await home.run(['plugin', 'install', name, '--json'], env);
      assert.equal([exitCode, (JSON.parse(stdout) as Listed).name], [0, '@scistream/plugin-haproxy'], name);
    }
    for (const name of ['forward', 'haproxxy', '@scistream/plugin-forward', '@scistream/haproxy']) {
      const { exitCode, stdout } = await home.run(['plugin', 'install', name, '--json'], env);
      assert.equal([exitCode, codeIn(stdout)], [3, 'SCI_PLUGIN_NOT_FOUND'], name);
    }
    assert.equal(registry.requests, []);
  } finally {
    await registry.stop();
  }
});

s('a plugin whose files have changed is not loaded', async ({ home }) => {
  await home.json('plugin', 'install', await folder(home, { scistream: provides('made') }));
  const file = join(home.data, 'node_modules', 'made', 'index.js');
  const intact = await readFile(file, 'utf8');
  const stateOf = async (): Promise<unknown> => {
    const { code } = await home.failure('s2cs', '--check', '--proxy', 'made');
    const made = (await listed(home)).find(({ name }) => name === 'made');
    return [code, made?.state];
  };
  await writeFile(file, `${intact}\n`);
  assert.equal(await stateOf(), ['SCI_PLUGIN_CHANGED', 'broken']);
  const more = await folder(home, { name: 'more', scistream: provides('more') });
  assert.is((await home.failure('plugin', 'install', more)).code, 'SCI_PLUGIN_CHANGED');
  await writeFile(file, intact);
  assert.is((await listed(home)).find(({ name }) => name === 'made')?.state, 'ok');
  await writeFile(join(home.data, 'node_modules', 'added.js'), '');
  assert.equal(await stateOf(), ['SCI_PLUGIN_CHANGED', 'broken']);
  await rm(join(home.data, 'node_modules', 'added.js'));
  await chmod(join(home.data, 'node_modules'), 0o777);
  assert.equal(await stateOf(), ['SCI_FILE_UNTRUSTED', 'broken']);
});

s('a rejected package does not change the installed plugins', async ({ home }) => {
  await home.json('plugin', 'install', await folder(home, { scistream: provides('made') }));
  const { code } = await home.failure('plugin', 'install', await folder(home, { version: '2.0.0' }));
  assert.is(code, 'SCI_PLUGIN_NO_MANIFEST');
  const made = (await listed(home)).find(({ name }) => name === 'made');
  assert.equal([made?.state, made?.provides.map(({ id }) => id)], ['ok', ['made']]);
});

s('a plugin with broken code is shown as broken and does not affect other plugins', async ({ home }) => {
  await linkPlugins(home, { made: 'throw new Error("no luck");' });
  const { exitCode, stdout } = await home.run(['plugin', 'inspect', 'made', '--json']);
  const { state, error } = JSON.parse(stdout) as { state: string; error: { code: string } };
  assert.equal([exitCode, state, error.code], [3, 'broken', 'SCI_PLUGIN_LOAD_FAILED']);
  assert.is((await home.run(['s2cs', '--check'])).exitCode, 0);
  assert.is((await home.failure('s2cs', '--check', '--proxy', 'made')).code, 'SCI_PLUGIN_LOAD_FAILED');
});

s('unknown plugins and bundled plugins are rejected', async ({ home }) => {
  assert.is((await home.failure('plugin', 'install', './absent.tgz')).code, 'SCI_PLUGIN_NOT_FOUND');
  assert.is((await home.failure('plugin', 'inspect', 'absent')).code, 'SCI_PLUGIN_NOT_FOUND');
  assert.is((await home.failure('plugin', 'uninstall', 'absent')).code, 'SCI_PLUGIN_NOT_FOUND');
  assert.is((await home.failure('plugin', 'uninstall', '@scistream/plugin-haproxy')).code, 'SCI_USAGE');
});

s('an unreachable registry is named within 15 s, without the password in its address', async ({ home }) => {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => sockets.add(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  try {
    const { port } = silent.address() as AddressInfo;
    for (const host of [`127.0.0.1:${port}`, '127.0.0.1:1']) {
      const begun = performance.now();
      const registry = `http://user:secret@${host}/npm/`;
      const { exitCode, stdout, stderr } = await home.run(['plugin', 'install', NAME, '--json'], {
        npm_config_registry: registry,
      });
      assert.ok(performance.now() - begun < 15_000, host);
      assert.is(exitCode, 3);
      const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
      assert.is(error.code, 'SCI_PLUGIN_INSTALL_FAILED');
      assert.match(error.message, host);
      assert.not.match(stdout + stderr, /secret/);
    }
  } finally {
    for (const socket of sockets) socket.destroy();
    silent.close();
  }
});

s('a file is installed without a registry', async ({ home }) => {
  const made = await folder(home, { scistream: provides('made') });
  const offline = { npm_config_registry: 'http://127.0.0.1:1/' };
  const { exitCode, stderr } = await home.run(['plugin', 'install', made], offline);
  assert.is(exitCode, 0, stderr);
  await folder(home, { name: 'needy', scistream: provides('needy'), dependencies: { 'no-such-package': '1.0.0' } });
  const { stdout } = await home.run(['plugin', 'install', made, '--json'], offline);
  assert.match(stdout, /127\.0\.0\.1:1 does not answer/);
  assert.ok((await listed(home)).some(({ name }) => name === 'made'));
});

s('settings of the user that change what npm installs, and where, do not apply', async ({ home }) => {
  const elsewhere = join(home.path, 'elsewhere');
  const made = await folder(home, { scistream: provides('made') });
  const settings = [
    'global',
    'dry-run',
    'json',
    'package-lock-only',
    'install-links',
    'legacy-peer-deps',
    'workspaces',
  ];
  const lines = [...settings.map((key) => `${key}=true`), 'save=false', 'omit=peer', `prefix=${elsewhere}`];
  const npmrc = join(home.path, 'npmrc');
  await writeFile(npmrc, lines.join('\n'));
  const variables = { npm_config_global: 'true', npm_config_prefix: elsewhere, npm_config_workspace: 'other' };
  for (const env of [{ npm_config_userconfig: npmrc }, variables]) {
    const { exitCode, stderr } = await home.run(['plugin', 'install', made], env);
    assert.is(exitCode, 0, stderr);
    const core = join(home.data, 'node_modules', '@scistream', 'core');
    assert.is(await realpath(core), join(REPOSITORY, 'core'));
    assert.is(await stat(elsewhere).catch(() => undefined), undefined);
    await home.json('plugin', 'uninstall', 'made');
  }
});

s.run();
