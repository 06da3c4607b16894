// suite: full
/** `scistream cert init | show | renew`, as operators run them. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hostname } from 'node:os';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Home } from './support/cli.js';

const s = suite<{ home: Home }>('scistream cert');

s.before.each(async (context) => {
  context.home = await Home.create();
});
s.after.each(({ home }) => home.remove());

interface Made {
  readonly kind: string;
  readonly certificate: string;
  readonly made: boolean;
  readonly names: readonly string[];
}

const init = async (home: Home, ...args: readonly string[]): Promise<readonly Made[]> =>
  ((await home.json('cert', 'init', ...args)) as { certificates: readonly Made[] }).certificates;

const read = (home: Home, ...names: readonly string[]): Promise<readonly string[]> =>
  Promise.all(names.map((name) => readFile(join(home.path, 'certs', name), 'utf8')));

/** Whether the certificates and keys match. */
const FITS = 'cert show certs/server.crt --ca certs/ca.crt --key certs/server.key --host a.example'.split(' ');

s('init creates missing certificates for the given names and this machine, with private keys', async ({ home }) => {
  const made = await init(home, 's2cs.aps.example', '2001:DB8::7', '--client', 'alice');
  const [, server] = made;
  const own = hostname().toLowerCase();
  assert.equal(server?.names.slice(0, 2), ['s2cs.aps.example', '2001:db8::7']);
  assert.equal(new Set(server?.names), new Set([...(server?.names.slice(0, 2) ?? []), own]));
  const modes = await Promise.all(
    ['', 'ca.key', 'server.key', 'alice.key', 'ca.crt'].map(
      async (name) => (await stat(join(home.path, 'certs', name))).mode & 0o777,
    ),
  );
  assert.equal(modes, [0o700, 0o600, 0o600, 0o600, 0o644]);
  const before = await read(home, 'ca.crt', 'server.crt', 'alice.crt');
  const again = await init(home, '--client', 'alice', '--client', 'bob');
  assert.equal(
    again.map(({ made: now }) => now),
    [false, false, false, true],
  );
  assert.equal(await read(home, 'ca.crt', 'server.crt', 'alice.crt'), before);
  const { code, message } = await home.failure('cert', 'init', 'other.example');
  assert.is(code, 'SCI_USAGE');
  assert.match(message, /other\.example/);
  const { stdout } = await home.run(['cert', 'init', 'gw.example', '--dir', 'more']);
  assert.match(stdout, /gw\.example \(given\).*\(name of this machine\)/);
});

s('init --server creates a certificate for another server, without the names of this machine', async ({ home }) => {
  const serverOf = (made: readonly Made[]) => made.find(({ kind }) => kind === 'server');
  const named = serverOf(await init(home, '--server', 'dtn1.example'));
  assert.equal(named?.names, ['dtn1.example']);
  const given = serverOf(await init(home, '--server', 'dtn2', '10.0.1.20', 'dtn2.example'));
  assert.equal(given?.names, ['10.0.1.20', 'dtn2.example']);
});

s('init with invalid arguments leaves no files behind', async ({ home }) => {
  for (const args of [
    ['https://a'],
    ['a.example', '--client', '../x'],
    ['a.example', '--client', 'server'],
    ['a.example', '--client', 'ca'],
  ]) {
    assert.is((await home.failure('cert', 'init', ...args)).code, 'SCI_USAGE', args.join(' '));
  }
  await stat(join(home.path, 'certs')).then(
    () => assert.unreachable('a directory was made'),
    () => undefined,
  );
});

s('show reports problems and exits with 1', async ({ home }) => {
  await init(home, 'a.example', '--client', 'alice');
  const { exitCode, stdout } = await home.run(FITS);
  assert.is(exitCode, 0, stdout);
  assert.match(stdout, /names \(SAN\) {2}a\.example/);
  for (const [args, says] of [
    [['certs/server.crt', '--host', 'b.example'], /not valid for b\.example/],
    [['certs/ca.crt', '--as', 'server'], /It is an authority/],
    [['certs/alice.crt', '--as', 'server'], /no alternative names/],
  ] as const) {
    const result = await home.run(['cert', 'show', ...args]);
    assert.is(result.exitCode, 1);
    assert.match(result.stdout, says);
  }
  await writeFile(join(home.path, 'text'), 'SECRET');
  const failure = await home.failure('cert', 'show', 'text');
  assert.is(failure.code, 'SCI_CERTIFICATE_INVALID');
  assert.not.match(JSON.stringify(failure), /SECRET/);
});

s('renew keeps the names, and the key unless --new-key is given', async ({ home }) => {
  await init(home, 'a.example', '--days', '5');
  const [first, key] = await read(home, 'server.crt', 'server.key');
  const { stdout } = await home.run(['cert', 'renew', 'certs/server.crt']);
  assert.match(stdout, /kill -HUP/);
  const [second, same] = await read(home, 'server.crt', 'server.key');
  assert.is.not(second, first);
  assert.is(same, key);
  await home.json('cert', 'renew', 'certs/server.crt', '--new-key');
  assert.is.not((await read(home, 'server.key'))[0], key);
  assert.is((await home.run(FITS)).exitCode, 0);
  assert.is((await home.failure('cert', 'renew', 'certs/none.crt')).code, 'SCI_CERTIFICATE_INVALID');
  assert.is(
    (await home.failure('cert', 'renew', 'certs/server.crt', '--ca', 'certs/server.crt')).code,
    'SCI_CERTIFICATE_INVALID',
  );
});

s.run();
