// suite: full
/** `scistream login | whoami | check-auth | logout` as a user runs them, with a real issuer. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Browser } from '../../test/support/browser.js';
import { CLI, JWT_RESOURCE, TestIssuer, USER } from '../../test/support/issuer.js';
import { Home, resultOf, type Result } from './support/cli.js';
import { startFacilities, type Facilities } from './support/facilities.js';

const s = suite<{ issuer: TestIssuer; facilities: Facilities; home: Home }>('login');

s.before(async (context) => {
  const issuer = (context.issuer = await TestIssuer.start());
  const auth = [{ use: 'oidc', issuer: issuer.url, audience: JWT_RESOURCE, scope: 'scistream', timeout: '30s' }];
  const { aps, alcf } = (context.facilities = await startFacilities({ auth, verbose: true }));
  context.home = await Home.create();
  const scope = 'openid offline_access scistream';
  const login = { use: 'oidc', issuer: issuer.url, client: CLI, scope, resource: JWT_RESOURCE };
  const facilities = {
    aps: { s2cs: aps.address, fingerprint: aps.fingerprint, auth: login },
    alcf: { s2cs: alcf.address, fingerprint: alcf.fingerprint },
  };
  await writeFile(join(context.home.path, 'scistream.config.yaml'), JSON.stringify({ facilities }));
});
s.after(async ({ issuer, facilities, home }) => {
  await facilities.stop();
  await home.remove();
  await issuer[Symbol.asyncDispose]();
});

const stored = async (home: Home): Promise<string> => readFile(join(home.path, 'config', 'logins', 'aps.json'), 'utf8');

/** Follows the instructions of the command. */
async function logIn(home: Home, ...flags: readonly string[]): Promise<Result> {
  const child = home.start('run.js', ['login', ...flags, '--json']);
  const result = resultOf(child);
  if (!child.stderr) throw new Error('stderr is not a pipe');
  for await (const line of createInterface(child.stderr)) {
    const [url] = /https?:\S+/.exec(line) ?? [];
    if (url !== undefined) await new Browser().open(url);
  }
  return await result;
}

s('calls without a login are rejected', async ({ home, issuer }) => {
  const { exitCode, code, suggestions } = await home.failure('whoami', 'aps');
  assert.equal([exitCode, code, suggestions], [6, 'SCI_LOGIN_REQUIRED', ['scistream login aps']]);
  const checked = await home.run(['check-auth']);
  assert.is(checked.exitCode, 6);
  assert.match(checked.stdout, /^aps: .*SCI_LOGIN_REQUIRED\]\n {2}try: scistream login aps\nalcf: none:anonymous\n$/);
  assert.is((await home.failure('login', 'alcf')).code, 'SCI_USAGE');
  assert.is((await home.failure('login', 'nowhere')).code, 'SCI_FACILITY_UNKNOWN');
  assert.is(issuer.tokenRequests, 0);
});

s('login gives access and logout ends it', async ({ home, issuer, facilities }) => {
  const { exitCode, stdout } = await logIn(home);
  assert.is(exitCode, 0, stdout);
  const result = JSON.parse(stdout) as Record<string, unknown>;
  assert.equal([result['facility'], result['issuer'], result['renewable']], ['aps', issuer.url, true]);
  const { subject, groups } = (await home.json('whoami', 'aps')) as { subject: string; groups: string[] };
  assert.equal([subject, groups], [USER, ['beamline-7']]);
  const checked = await home.run(['check-auth', '--verbose']);
  assert.is(checked.exitCode, 0, checked.stdout);
  assert.match(checked.stdout, `aps: ${issuer.url}:${USER}, groups beamline-7, until `);
  assert.match(checked.stdout, /until .*\d\d:\d\d.* UTC/);
  const tokens = JSON.parse(await stored(home)) as { accessToken: string; refreshToken: string };
  const listed = await home.run(['stream', 'ls', '--verbose', '--json']);
  assert.is(listed.exitCode, 0, listed.stderr);
  const said = [stdout, checked.stdout, checked.stderr, listed.stdout, listed.stderr, facilities.aps.logged()].join();
  for (const secret of [tokens.accessToken, tokens.refreshToken]) assert.not(said.includes(secret));

  assert.match((await home.run(['logout'])).stdout, /^logged out of aps\n$/);
  assert.not(await issuer.redeems(tokens.refreshToken));
  assert.equal(await readdir(join(home.path, 'config', 'logins')), []);
  assert.match((await home.run(['logout'])).stdout, /^not logged in to aps\n$/);
  assert.is((await home.failure('whoami', 'aps')).code, 'SCI_LOGIN_REQUIRED');
});

s('concurrent commands renew the tokens only once', async ({ home, issuer }) => {
  assert.is((await logIn(home, '--browser')).exitCode, 0);
  const old = JSON.parse(await stored(home)) as object;
  const past = new Date(Date.now() - 60_000).toISOString();
  const file = join(home.path, 'config', 'logins', 'aps.json');
  await writeFile(file, JSON.stringify({ ...old, obtainedAt: past, expiresAt: past }));
  const asked = issuer.tokenRequests;
  const all = await Promise.all(Array.from({ length: 3 }, () => home.run(['whoami', 'aps'])));
  for (const { exitCode, stdout, stderr } of all) assert.is(exitCode, 0, stdout + stderr);
  assert.is(issuer.tokenRequests, asked + 1);
  const asS2uc = await resultOf(home.start('s2uc.js', ['check_auth', 'aps']));
  assert.is(asS2uc.exitCode, 0, asS2uc.stderr);
});

s('a user who denies the request is not logged in', async ({ home, issuer }) => {
  issuer.denies = true;
  await home.run(['logout']);
  const { exitCode, stdout } = await logIn(home);
  assert.is(exitCode, 6, stdout);
  assert.match(stdout, /SCI_LOGIN_FAILED/);
  assert.equal(await readdir(join(home.path, 'config', 'logins')), []);
});

s.run();
