// suite: full
import { createServer } from 'node:net';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Home, nextLine, resultOf } from './support/cli.js';

const s = suite<{ home: Home }>('policy');

s.before.each(async (context) => {
  context.home = await Home.create();
});
s.after.each(({ home }) => home.remove());

const POLICY = `rules:
  - name: detectors
    who: { identities: ['token:alice'] }
    roles: [PROD]
    targets: { networks: [10.0.1.0/24] }
    limits: { lifetime: 2h }
`;

const configure = async (home: Home, more = ''): Promise<void> => {
  await writeFile(join(home.path, 's2cs.conf'), `facility: aps\npolicy: policy.yaml\n${more}`);
  await writeFile(join(home.path, 'policy.yaml'), POLICY);
};

s('policy check prints the deciding rule and exits with 0', async ({ home }) => {
  await configure(home);
  const asked = ['policy', 'check', '--config', 's2cs.conf', '--as', 'token:alice', '--target', '10.0.1.7:5001'];
  const said = await home.run(asked);
  assert.is(said.exitCode, 0);
  assert.match(said.stdout, /^token:alice is allowed by detectors\.\nResulting targets: 10\.0\.1\.7:5001\.\n$/);
  assert.equal(await home.json(...asked), {
    allowed: true,
    as: 'token:alice',
    action: 'request',
    rules: ['detectors'],
    targets: ['10.0.1.7:5001'],
    lifetimeMs: 7_200_000,
  });
});

s('policy check knows the admins and groups of the configuration', async ({ home }) => {
  const hash = 'a'.repeat(64);
  const tokens = [
    { subject: 'root', sha256: hash, admin: true },
    { subject: 'bob', sha256: hash, groups: ['staff'] },
    { subject: 'eve', sha256: hash },
  ];
  const certificate = { use: 'certificate', admins: ['ops'], groups: { staff: ['carol'] } };
  await configure(home, `auth: ${JSON.stringify([{ use: 'token', tokens }, certificate])}\n`);
  const rule = 'rules: [{ name: staff, who: { groups: [staff] }, actions: [view] }]\n';
  await writeFile(join(home.path, 'policy.yaml'), rule);
  const exitOf = async (as: string): Promise<number | null> => {
    const asked = ['policy', 'check', '--config', 's2cs.conf', '--as', as, '--action', 'view'];
    return (await home.run(asked)).exitCode;
  };
  for (const as of ['token:root', 'certificate:ops', 'token:bob', 'certificate:carol']) {
    assert.is(await exitOf(as), 0, as);
  }
  for (const as of ['token:eve', 'token:ops', 'certificate:bob']) assert.is(await exitOf(as), 6, as);
});

for (const [flags, expected] of [
  [['--as', 'token:bob'], /No rule applies to token:bob/],
  [['--as', 'token:alice', '--role', 'CONS'], /Rule detectors does not allow role outbound/],
  [['--as', 'token:alice', '--encryption', 'none'], /does not allow encryption none/],
  [['--as', 'token:alice', '--target', '10.0.2.7:1'], /Target 10\.0\.2\.7:1 is not allowed by rule detectors/],
] as const) {
  s(`policy check ${flags.join(' ')} prints the reason and exits with 6`, async ({ home }) => {
    await configure(home);
    const { exitCode, stderr } = await home.run(['policy', 'check', '--config', 's2cs.conf', ...flags]);
    assert.is(exitCode, 6, stderr);
    assert.match(stderr, expected);
    assert.match(stderr, /SCI_(FORBIDDEN|ENCRYPTION_REQUIRED)\]\nTry: /);
  });
}

const withPolicy = async (home: Home, rules: readonly object[], more = ''): Promise<void> => {
  await configure(home, more);
  await writeFile(join(home.path, 'policy.yaml'), JSON.stringify({ rules }));
};

s('policy check splits issuer and subject correctly', async ({ home }) => {
  const auth = [
    { use: 'certificate', issuer: 'aps' },
    { use: 'oidc', issuer: 'https://idp.example', audience: 'a' },
    { use: 'oidc', issuer: 'https://idp.example:8443/lab', audience: 'a' },
    { use: 'token', tokens: [{ subject: 'x', sha256: 'ab'.repeat(32) }] },
  ];
  const issuers = ['aps', 'https://idp.example:8443/lab', 'token', 'other'];
  await withPolicy(home, [{ name: 'r', who: { issuers } }], `auth: ${JSON.stringify(auth)}\n`);
  const check = (as: string) => home.run(['policy', 'check', '--config', 's2cs.conf', '--as', as]);
  for (const as of ['aps:spiffe://x/alice', 'https://idp.example:8443/lab:alice', 'token:a:b', 'other:a:b']) {
    const { exitCode, stderr } = await check(as);
    assert.is(exitCode, 0, `${as}: ${stderr}`);
  }
  assert.is((await check('https://idp.example:alice')).exitCode, 6);
  assert.is((await check('aps:')).exitCode, 2);
});

s(
  'policy check asks about the stream that the rule would grant, and tells the operator what a name means',
  async ({ home }) => {
    const who = { identities: ['token:alice'] };
    const lab = {
      name: 'lab',
      who,
      sources: ['198.51.100.7'],
      limits: { connections: 2, lifetime: '1h', bandwidth: '1Gbps' },
      targets: { networks: ['10.0.1.0/24'] },
    };
    await withPolicy(home, [lab, { name: 'open', who, targets: { networks: ['192.0.2.80'] } }]);
    const check = (...more: string[]) =>
      home.run(['policy', 'check', '--config', 's2cs.conf', '--as', 'token:alice', ...more]);
    const size = ['--connections', '2', '--rate', '1Gbps'];
    const target = ['--target', '10.0.1.7:5001'];
    assert.match(
      (await check(...size, ...target)).stdout,
      /allowed by lab\.\n.*10\.0\.1\.7:5001\.\n.*198\.51\.100\.7\/32/,
    );
    const wide = await check('--connections', '3', ...target);
    assert.is(wide.exitCode, 6);
    assert.match(wide.stderr, /Rule lab allows target 10\.0\.1\.7:5001, but not 3 connections/);
    const made = ['--action', 'update', '--lifetime', '1h', ...size, ...target];
    assert.match((await check(...made)).stderr, /Rule lab allows target .* but not connections from everywhere/);
    assert.is((await check(...made, '--source', '198.51.100.7')).exitCode, 0);
    assert.is((await check('--source', '198.51.100.7')).exitCode, 2);
    assert.match(
      (await check('--target', 'localhost:1')).stderr,
      /localhost:1, which resolves to \S+ here, is not allowed/,
    );
  },
);

s('config check reports errors in the policy', async ({ home }) => {
  await configure(home);
  await writeFile(join(home.path, 'policy.yaml'), POLICY.replace('roles', 'rolls'));
  const { exitCode, stderr } = await home.run(['config', 'check', '--config', 's2cs.conf']);
  assert.is(exitCode, 2);
  assert.match(stderr, /rules\.0\.rolls is not a known key, did you mean roles\?/);
});

s('SIGHUP reloads the policy; an invalid policy changes nothing, and the daemon keeps running', async ({ home }) => {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  probe.close();
  await once(probe, 'close');
  await configure(home, `listen: 127.0.0.1:${address.port}\nstate: state\n`);
  const daemon = home.start('s2cs.js', ['--config', 's2cs.conf']);
  const result = resultOf(daemon);
  const { stderr } = daemon;
  if (!stderr) throw new Error('no stderr');
  const lines: string[] = [];
  const log = createInterface(stderr).on('line', (line) => lines.push(line));
  const says = async (text: RegExp): Promise<void> => {
    while (!lines.some((line) => text.test(line))) await once(log, 'line');
  };
  await nextLine(daemon);
  daemon.kill('SIGHUP');
  await says(/configuration reloaded/);
  await chmod(join(home.path, 'policy.yaml'), 0o666);
  daemon.kill('SIGHUP');
  await says(/SCI_FILE_UNTRUSTED.*configuration reload rejected/);
  await chmod(join(home.path, 'policy.yaml'), 0o600);
  await writeFile(join(home.path, 'policy.yaml'), 'rules: []');
  daemon.kill('SIGHUP');
  await says(/rules needs a rule.*configuration reload rejected/);
  assert.is(daemon.exitCode, null);
  daemon.kill('SIGTERM');
  assert.is((await result).exitCode, 0);
});

s.run();
