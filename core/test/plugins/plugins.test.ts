import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runtimeProvider, SciStreamError, type ContainerRuntime } from '@scistream/core';
import {
  findPlugins,
  importPlugin,
  Providers,
  readPlugin,
  type FoundPlugin,
  type PluginSource,
  type AnyProvider,
} from '@scistream/core/internal';
import { temporaryDirectory, type TemporaryDirectory } from '@scistream/core/testing';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const s = suite<{ directory: TemporaryDirectory }>('plugins');

s.before.each(async (context) => {
  context.directory = await temporaryDirectory();
});
s.after.each(({ directory }) => directory.remove());

const entry = (id: string, kind = 'runtime'): object => ({ kind, id, summary: `the ${id}` });
const manifest = (...ids: string[]): object => ({ apiVersion: 1, provides: ids.map((id) => entry(id)) });

/** Code of a plugin without dependencies that provides runtimes; `globalThis` counts how often it is loaded. */
const code = (...ids: string[]): string => `
globalThis.scistreamTestLoads = (globalThis.scistreamTestLoads ?? 0) + 1;
const options = { '~standard': { version: 1, vendor: 'test', validate: (value) =>
  'bad' in value ? { issues: [{ message: 'is bad', path: ['bad', { key: 'deep' }] }] } : { value } } };
const providers = ${JSON.stringify(ids)}.map((id) => ({ kind: 'runtime', id, options, create: (context, value) => ({ id, value }) }));
export default Object.defineProperty({ apiVersion: 1, providers }, Symbol.for('scistream.plugin'), { value: true });
`;

const loads = (): number => Number(Reflect.get(globalThis, 'scistreamTestLoads') ?? 0);

/** Creates a package and returns its location. */
async function plugin(
  { path }: TemporaryDirectory,
  name: string,
  scistream: unknown,
  source = '',
  more: object = {},
): Promise<PluginSource> {
  const root = join(path, name);
  await mkdir(root, { recursive: true });
  const content = { name, version: '1.0.0', type: 'module', exports: './index.js', scistream, ...more };
  await writeFile(join(root, 'package.json'), JSON.stringify(content));
  await writeFile(join(root, 'index.js'), source);
  return { name, version: '1.0.0', root, type: 'user' };
}

async function failure(work: Promise<unknown>): Promise<SciStreamError> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!SciStreamError.is(error)) throw new Error(`expected a SciStreamError, got ${String(error)}`);
  return error;
}

const builtIn = (id: string): { provider: AnyProvider; summary: string } => ({
  provider: runtimeProvider({
    id,
    options: { '~standard': { version: 1, vendor: 'test', validate: () => ({ value: {} }) } },
    create: () => ({ id }) as ContainerRuntime,
  }),
  summary: `built-in ${id}`,
});

const providers = (
  plugins: readonly FoundPlugin[],
  config: { plugins?: string[]; runtimes?: Record<string, object> } = {},
): Providers => {
  const runtimes = Object.fromEntries(
    Object.entries(config.runtimes ?? {}).map(([id, options]) => [id, { ...options }]),
  );
  const builtIns = [builtIn('process')];
  return new Providers({ builtIns, plugins, config: { proxies: {}, runtimes, plugins: config.plugins ?? [] } });
};

const broken: readonly [what: string, scistream: unknown, more: object, code: string, text: RegExp][] = [
  ['without manifest', undefined, {}, 'SCI_PLUGIN_NO_MANIFEST', /"scistream"/],
  ['with an empty manifest', {}, {}, 'SCI_PLUGIN_MANIFEST_INVALID', /scistream\.apiVersion/],
  [
    'with an unknown kind',
    { apiVersion: 1, provides: [entry('a', 'gadget')] },
    {},
    'SCI_PLUGIN_MANIFEST_INVALID',
    /scistream\.provides\.0\.kind/,
  ],
  ['with an id in capitals', manifest('A'), {}, 'SCI_PLUGIN_MANIFEST_INVALID', /scistream\.provides\.0\.id/],
  ['with an unknown key', { ...manifest('a'), extra: 1 }, {}, 'SCI_PLUGIN_MANIFEST_INVALID', /scistream\.extra/],
  ['for a later plugin interface', { apiVersion: 99, more: true }, {}, 'SCI_PLUGIN_API_UNSUPPORTED', /99/],
  [
    'for another core',
    manifest('a'),
    { peerDependencies: { '@scistream/core': '^99.0.0' } },
    'SCI_PLUGIN_CORE_MISMATCH',
    /\^99\.0\.0/,
  ],
];
for (const [what, scistream, more, expected, text] of broken) {
  s(`a plugin ${what} is listed as broken`, async ({ directory }) => {
    const [found] = await findPlugins([await plugin(directory, 'p', scistream, '', more)]);
    assert.is(found?.error?.code, expected);
    assert.match(found?.error?.message ?? '', text);
  });
}

s('accepts every range that includes this core', async ({ directory }) => {
  for (const range of ['*', '^0.1.0', '~0.1', '0.x', '>=0.1.0 <2', '>= 0.0.1', '^9 || ^0.1.0', '0.1.0 - 1']) {
    const { root } = await plugin(directory, 'p', manifest('a'), '', {
      peerDependencies: { '@scistream/core': range },
    });
    assert.is((await readPlugin(root)).name, 'p', range);
  }
  for (const range of ['^0.0.9', '~0.0', '1.x', '>0.1', '<0.1.0', '^0.2.0', '0.2.0 - 1', 'latest']) {
    const { root } = await plugin(directory, 'p', manifest('a'), '', {
      peerDependencies: { '@scistream/core': range },
    });
    assert.is((await failure(readPlugin(root))).code, 'SCI_PLUGIN_CORE_MISMATCH', range);
  }
});

s('if two plugins provide the same id, the one of SciStream wins', async ({ directory }) => {
  const user = await plugin(directory, 'one', manifest('a', 'b'));
  const core = { ...(await plugin(directory, 'two', manifest('a'))), type: 'core' as const };
  const found = await findPlugins([user, core]);
  assert.is(found.find(({ name }) => name === 'two')?.error, undefined);
  const error = found.find(({ name }) => name === 'one')?.error;
  assert.is(error?.code, 'SCI_PLUGIN_DUPLICATE');
  for (const root of [user.root, core.root]) assert.match(error?.message ?? '', root);
});

s('rejects the id of a built-in provider', async ({ directory }) => {
  const [found] = await findPlugins(
    [await plugin(directory, 'p', manifest('process'))],
    [{ kind: 'runtime', id: 'process' }],
  );
  assert.is(found?.error?.code, 'SCI_PLUGIN_DUPLICATE');
});

s('loads the code of a plugin once, at the first use', async ({ directory }) => {
  const all = providers(await findPlugins([await plugin(directory, 'p', manifest('a', 'b'), code('a', 'b'))]));
  const before = loads();
  assert.equal(
    all.list('runtime').map(({ id, source }) => [id, source]),
    [
      ['process', 'built-in'],
      ['a', 'p'],
      ['b', 'p'],
    ],
  );
  await all.runtime('process');
  assert.is(loads(), before);
  assert.is((await all.runtime('a')).id, 'a');
  await all.runtime('b');
  await all.runtime('A');
  assert.is(loads(), before + 1);
});

s('the plugin checks options, and errors have their full path', async ({ directory }) => {
  const found = await findPlugins([await plugin(directory, 'p', manifest('a'), code('a'))]);
  const error = await failure(providers(found, { runtimes: { a: { bad: 1 } } }).runtime('a'));
  assert.is(error.code, 'SCI_PLUGIN_OPTIONS_INVALID');
  assert.match(error.message, 'runtimes.a.bad.deep: is bad');
});

const wrongCode: readonly [what: string, source: string, code: string, text: RegExp][] = [
  ['that throws', 'throw new Error("no luck");', 'SCI_PLUGIN_LOAD_FAILED', /no luck/],
  ['that cannot be parsed', 'export default {', 'SCI_PLUGIN_LOAD_FAILED', /Unexpected/],
  ['without default export', 'export const a = 1;', 'SCI_PLUGIN_SHAPE', /definePlugin/],
  ['that provides something else', code('c'), 'SCI_PLUGIN_SHAPE', /lists runtime a, .* runtime c/],
];
for (const [what, source, expected, text] of wrongCode) {
  s(`code ${what} fails only its users`, async ({ directory }) => {
    const bad = await plugin(directory, 'bad', manifest('a'), source);
    const good = await plugin(directory, 'good', manifest('b'), code('b'));
    const all = providers(await findPlugins([bad, good]));
    const error = await failure(all.runtime('a'));
    assert.is(error.code, expected);
    assert.match(error.message, text);
    assert.is((await all.runtime('b')).id, 'b');
  });
}

s('a package without an entry cannot be loaded', async ({ directory }) => {
  const { root } = await plugin(directory, 'p', manifest('a'), '', { exports: './missing.js' });
  assert.is((await failure(readPlugin(root).then(importPlugin))).code, 'SCI_PLUGIN_LOAD_FAILED');
});

s('an unknown name lists the available ids, and names no package that nobody has registered', () => {
  const all = providers([]);
  const error = assertThrows(() => all.resolve('nginx', 'process'));
  assert.is(error.code, 'SCI_PROXY_UNKNOWN');
  assert.match(error.suggestions.join('\n'), /^Use one of: .*\n.*scistream plugin install PACKAGE$/);
});

s('an unknown runtime suggests a similar one', async () => {
  const error = await failure(providers([]).runtime('proces'));
  assert.is(error.code, 'SCI_RUNTIME_UNKNOWN');
  assert.match(error.message, 'did you mean process?');
  assert.match(error.suggestions.join(), 'Use one of: process');
});

s('resolves aliases in any letter case, and the runtime of an alias', async ({ directory }) => {
  const aliases = [{ name: 'TurboSubprocess', runtime: 'process' }, { name: 'Speedy' }];
  const provides = [{ ...entry('turbo', 'proxy'), aliases }, entry('pod')];
  const all = providers(await findPlugins([await plugin(directory, 'p', { apiVersion: 1, provides })]));
  assert.equal(all.resolve('turbosubprocess', 'pod'), { proxy: 'turbo', runtime: 'process' });
  assert.equal(all.resolve('SPEEDY', 'pod'), { proxy: 'turbo', runtime: 'pod' });
  assert.equal(all.resolve('Turbo', 'pod'), { proxy: 'turbo', runtime: 'pod' });
});

s('an exact id has priority over an alias', async ({ directory }) => {
  const aliases = [{ name: 'Turbo', runtime: 'pod' }];
  const provides = [{ ...entry('turbo', 'proxy'), aliases }, entry('pod')];
  const all = providers(await findPlugins([await plugin(directory, 'p', { apiVersion: 1, provides })]));
  assert.equal(all.resolve('turbo', 'process'), { proxy: 'turbo', runtime: 'process' });
  for (const name of ['Turbo', 'TURBO', 'tUrBo']) {
    assert.equal(all.resolve(name, 'process'), { proxy: 'turbo', runtime: 'pod' }, name);
  }
});

s('an alias with a missing runtime names it and an alternative', async ({ directory }) => {
  const aliases = [{ name: 'Turbo', runtime: 'docker' }];
  const provides = [{ ...entry('turbo', 'proxy'), aliases }];
  const all = providers(await findPlugins([await plugin(directory, 'p', { apiVersion: 1, provides })]));
  const error = assertThrows(() => all.resolve('Turbo', 'process'));
  assert.is(error.code, 'SCI_RUNTIME_UNKNOWN');
  assert.match(error.message, 'Unknown runtime "docker"');
  const help = error.suggestions.join('\n');
  assert.match(help, '"Turbo" means proxy turbo in runtime docker. Use turbo to run it in another runtime.');
  assert.not.match(help, '@scistream');
});

s('plugins listed in the configuration must be installed, and no others are offered', async ({ directory }) => {
  const found = await findPlugins([
    await plugin(directory, 'one', manifest('a'), code('a')),
    await plugin(directory, 'two', manifest('b'), code('b')),
    await plugin(directory, 'bad', {}),
  ]);
  const some = providers(found, { plugins: ['one'] });
  assert.equal(
    some.list().map(({ id }) => id),
    ['process', 'a'],
  );
  assert.match((await failure(some.runtime('b'))).suggestions.join(), 'Add two to the key plugins');
  assert.is(assertThrows(() => providers(found, { plugins: ['three'] })).code, 'SCI_PLUGIN_NOT_FOUND');
  assert.is(assertThrows(() => providers(found, { plugins: ['bad'] })).code, 'SCI_PLUGIN_MANIFEST_INVALID');
});

function assertThrows(work: () => unknown): SciStreamError {
  try {
    work();
  } catch (error) {
    if (SciStreamError.is(error)) return error;
    throw error;
  }
  throw new Error('expected an error');
}

s.run();
