import { cp, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Home } from './support/cli.js';

const s = suite<{ home: Home }>('configuration commands');

s.before.each(async (context) => {
  context.home = await Home.create();
});
s.after.each(({ home }) => home.remove());

/** As the comment in the file says: the hash of a token in the place of the zeros. */
async function replacePlaceholder(file: string): Promise<void> {
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replace(/"0{64}"/, `"${'ab'.repeat(32)}"`));
}

for (const [kind, file] of [
  ['s2uc', 'scistream.config.yaml'],
  ['s2cs', 's2cs.conf'],
  ['s2ds', 's2ds.conf'],
] as const) {
  s(`init writes a starter for ${kind} that check accepts, for the user only`, async ({ home }) => {
    const policy = kind === 's2cs' ? { policy: 'policy.yaml' } : {};
    assert.equal(await home.json('config', 'init', '--kind', kind), { file, kind, ...policy });
    assert.is((await stat(join(home.path, file))).mode & 0o777, 0o600);
    await replacePlaceholder(join(home.path, file));
    const checked = await home.json('config', 'check', '--config', file);
    assert.equal(checked, { valid: true, kind, file: join(home.path, file) });
  });
}

s('the starter of a control server has a policy with exact targets and an audit log', async ({ home }) => {
  await home.json('config', 'init', '--kind', 's2cs');
  const { values } = (await home.json('config', 'show', '--kind', 's2cs', '--config', 's2cs.conf')) as {
    values: readonly { key: string; origin: string }[];
  };
  assert.ok(values.some(({ key }) => key === 'policy') && values.some(({ key }) => key === 'audit.file'));
  const ask = async (target: string): Promise<number | null> => {
    const who = ['--as', 'token:alice', '--role', 'inbound', '--target', target];
    return (await home.run(['policy', 'check', '--config', 's2cs.conf', ...who])).exitCode;
  };
  assert.equal([await ask('10.0.1.5:5001'), await ask('10.0.1.5:22'), await ask('10.0.1.254:22')], [0, 6, 6]);
  const policy = join(home.path, 'policy.yaml');
  await writeFile(policy, '# mine');
  await home.json('config', 'init', '--kind', 's2cs', '--force');
  assert.is(await readFile(policy, 'utf8'), '# mine', 'rules of an operator are never replaced');
});

for (const [file, kind] of [
  ['s2cs-aps.conf', 's2cs'],
  ['s2cs-alcf.conf', 's2cs'],
  ['s2uc.conf', 's2uc'],
] as const) {
  s(`the sample ${file} in the documentation is valid`, async ({ home }) => {
    const path = join(home.path, file);
    await cp(resolve('examples/two-hosts'), home.path, { recursive: true });
    await replacePlaceholder(path);
    assert.equal(await home.json('config', 'check', path), { valid: true, kind, file: path });
  });
}

s('init overwrites an existing file only with --force', async ({ home }) => {
  const file = join(home.path, 'my.conf');
  await writeFile(file, 'precious', { mode: 0o644 });
  const { exitCode, code } = await home.failure('config', 'init', 'my.conf');
  assert.equal([exitCode, code, await readFile(file, 'utf8')], [2, 'SCI_USAGE', 'precious']);
  await home.json('config', 'init', '--force', 'my.conf');
  assert.match(await readFile(file, 'utf8'), 'facilities:');
  assert.is((await stat(file)).mode & 0o777, 0o600);
});

s('check prints all problems, one sentence each, and fails', async ({ home }) => {
  await writeFile(join(home.path, 's2cs.conf'), 'facilty: aps\ngateways: [{ ports: 9-1 }]\n');
  const { exitCode, stdout, stderr } = await home.run(['config', 'check', '--config', 's2cs.conf']);
  assert.is(exitCode, 2);
  assert.is(stdout, '');
  assert.match(stderr, /facilty is not a known key, did you mean facility\?/);
  assert.match(stderr, /gateways\.0\.ports: "9-1" [^]*\[SCI_CONFIG_INVALID\]\nTry: /);
});

s('check also looks up the plugins and files that the configuration names', async ({ home }) => {
  const check = async (content: string): Promise<string> => {
    await writeFile(join(home.path, 's2cs.conf'), `facility: aps\n${content}\n`);
    return (await home.failure('config', 'check', '--config', 's2cs.conf')).code;
  };
  assert.is(await check('gateways: [{ proxy: envoy }]'), 'SCI_PROXY_UNKNOWN');
  assert.is(await check('gateways: [{ runtime: cloud }]'), 'SCI_RUNTIME_UNKNOWN');
  assert.is(await check('proxies: { relay: { speed: 1 } }'), 'SCI_PLUGIN_OPTIONS_INVALID');
  assert.is(await check('proxies: { haproxy: { speed: 1 } }'), 'SCI_PLUGIN_OPTIONS_INVALID');
  assert.is(await check('proxies: { haprxy: { threads: 4 } }'), 'SCI_PROXY_UNKNOWN');
  assert.is(await check('proxies: { Haproxy: { threads: 4 } }'), 'SCI_CONFIG_INVALID');
  assert.is(await check('runtimes: { cloud: {} }'), 'SCI_RUNTIME_UNKNOWN');
  assert.is(await check('plugins: [scistream-plugin-absent]'), 'SCI_PLUGIN_NOT_FOUND');
  assert.is(await check('auth: [{ use: oidcc }]'), 'SCI_PLUGIN_NOT_FOUND');
  assert.is(await check('tls: { cert: a, key: b }'), 'SCI_CONFIG_INVALID');
});

s('show prints the origin of each value', async ({ home }) => {
  await writeFile(join(home.path, 's2cs.conf'), 'facility: aps\nauth: [{ use: other, clientSecret: hush }]\n');
  const { exitCode, stdout } = await home.run(['config', 'show', '--config', 's2cs.conf'], {
    SCISTREAM_WAN: '10.0.0.1',
  });
  assert.is(exitCode, 0);
  assert.match(stdout, /^facility +aps +\/.*s2cs\.conf$/m);
  assert.match(stdout, /^gateways\.0\.wan +10\.0\.0\.1 +SCISTREAM_WAN$/m);
  assert.match(stdout, /^limits\.lifetime +24h +default$/m);
  assert.not.match(stdout, 'hush');
});

s('the file can come from the environment or the configuration directory', async ({ home }) => {
  await mkdir(join(home.path, 'config'));
  await writeFile(join(home.path, 'config', 'scistream.config.yaml'), 'facility: found\n');
  await writeFile(join(home.path, 'named.conf'), 'facility: named\n');
  const facility = async (env: NodeJS.ProcessEnv): Promise<string> =>
    (JSON.parse((await home.run(['s2cs', '--check', '--json'], env)).stdout) as { facility: string }).facility;
  assert.is(await facility({}), 'found');
  assert.is(await facility({ SCISTREAM_CONFIG: 'named.conf' }), 'named');
  assert.is(await facility({ SCISTREAM_FACILITY: 'variable' }), 'variable');
});

s.run();
