/** Logging in to a facility, and the tokens of a login. */
import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { SciStreamError, type ErrorCode } from '@scistream/core';
import { parseAddress } from '@scistream/core/internal';
import { logIn, loginOf, logOut, resolveEndpoint, S2UC, type TrustSettings } from '@scistream/core/client';
import { temporaryDirectory } from '@scistream/core/testing';
import { Browser } from '../../support/browser.js';
import { CLI, JWT_RESOURCE, OPAQUE_RESOURCE, TestIssuer, USER } from '../../support/issuer.js';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('login');

const MINUTE_MS = 60_000;

interface Stored {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly obtainedAt: string;
  readonly expiresAt: string;
}

/** An issuer, a facility that trusts it, and a user with a separate configuration directory. */
async function open() {
  const issuer = await TestIssuer.start();
  const audience = [JWT_RESOURCE, OPAQUE_RESOURCE];
  const auth = [{ use: 'oidc', issuer: issuer.url, audience, scope: 'scistream', timeout: '30s' }];
  const server = await TestServer.start({ auth });
  const home = await temporaryDirectory();
  process.env['SCISTREAM_CONFIG_DIR'] = home.path;
  const { address, fingerprint } = server.listening;
  const scope = 'openid offline_access scistream';
  const key = { use: 'oidc', issuer: issuer.url, client: CLI, scope, resource: JWT_RESOURCE } as const;
  const facility = { s2cs: parseAddress(address), fingerprint, auth: key };
  const client = new S2UC({ facilities: { aps: facility } }, { stateDir: join(home.path, 'state') });
  const file = join(home.path, 'logins', 'aps.json');
  const close = async (): Promise<void> => {
    client.close();
    await server[Symbol.asyncDispose]();
    await issuer[Symbol.asyncDispose]();
    await home.remove();
  };
  const stored = async (): Promise<Stored> => JSON.parse(await readFile(file, 'utf8')) as Stored;
  const store = async (changes: object): Promise<void> =>
    writeFile(file, JSON.stringify({ ...(await stored()), ...changes }));
  const login = loginOf(resolveEndpoint('aps', { aps: facility }));
  if (!login) throw new Error('aps has no login');
  /** Another client of the user with another configuration of the facility. */
  const otherClient = (s2cs: string, trust: TrustSettings): S2UC =>
    new S2UC({ facilities: { aps: { s2cs: parseAddress(s2cs), auth: key, ...trust } } }, { stateDir: home.path });
  return { issuer, server, client, otherClient, login, file, stored, store, [Symbol.asyncDispose]: close };
}

type World = Awaited<ReturnType<typeof open>>;

/** @returns The last page that the user sees. */
async function logInWithBrowser({ login }: World): Promise<string> {
  let page: Promise<string> | undefined;
  await logIn(login, { method: 'browser', onPrompt: ({ url }) => void (page = new Browser().open(url)) });
  return (await page) ?? '';
}

async function refused(call: Promise<unknown>, code: ErrorCode): Promise<SciStreamError> {
  const error: unknown = await call.then(
    () => new Error(`expected ${code}`),
    (thrown: unknown) => thrown,
  );
  if (!SciStreamError.is(error)) throw error;
  assert.is(error.code, code, error.message);
  return error;
}

const ago = (ms: number): string => new Date(Date.now() - ms).toISOString();
const ended = { obtainedAt: ago(10 * MINUTE_MS), expiresAt: ago(MINUTE_MS) };

s('a login with a browser on this machine, PKCE and a loopback redirect', async () => {
  await using world = await open();
  const { client, file, issuer } = world;
  const { suggestions } = await refused(client.whoAmI('aps'), 'SCI_LOGIN_REQUIRED');
  assert.equal(suggestions, ['scistream login aps']);
  assert.match(await logInWithBrowser(world), /can be closed/);
  const { subject, issuer: found, groups, expiresAt } = await client.whoAmI('aps');
  assert.equal([subject, found, groups], [USER, issuer.url, ['beamline-7']]);
  assert.ok(Date.parse(expiresAt) > Date.now());
  assert.is((await stat(file)).mode & 0o777, 0o600);
  assert.is((await stat(join(file, '..'))).mode & 0o777, 0o700);
  assert.equal(await readdir(join(file, '..')), ['aps.json'], 'nothing is left beside it');
  const [request = ''] = issuer.requests.filter((path) => path.startsWith('/auth?'));
  assert.is(new URL(request, issuer.url).searchParams.get('code_challenge_method'), 'S256');
});

s('a login fails if the user refuses or interrupts it', async () => {
  await using world = await open();
  world.issuer.denies = true;
  assert.match((await refused(logInWithBrowser(world), 'SCI_LOGIN_FAILED')).message, /access_denied/);
  const interrupt = new AbortController();
  const reason = new SciStreamError('SCI_LOGIN_FAILED', 'enough');
  const onPrompt = (): void => interrupt.abort(reason);
  const error = await refused(
    logIn(world.login, { method: 'browser', onPrompt, signal: interrupt.signal }),
    'SCI_LOGIN_FAILED',
  );
  assert.is(error, reason);
  await refused(logIn({ ...world.login, client: 'unknown' }, { onPrompt: () => undefined }), 'SCI_LOGIN_FAILED');
  world.issuer.stop();
  await refused(logIn(world.login, { onPrompt: () => undefined }), 'SCI_ISSUER_UNREACHABLE');
});

s('a login ignores requests to its port without the state', async () => {
  await using world = await open();
  const seen: number[] = [];
  let page: Promise<string> | undefined;
  await logIn(world.login, {
    method: 'browser',
    onPrompt: ({ url }) => {
      const redirect = new URL(url).searchParams.get('redirect_uri') ?? '';
      const strangers = [
        `${redirect}?code=stolen`,
        `${redirect}?code=stolen&state=guessed`,
        new URL('/', redirect).href,
      ];
      page = Promise.all(strangers.map(async (one) => seen.push((await fetch(one)).status))).then(() =>
        new Browser().open(url),
      );
    },
  });
  await page;
  assert.equal(seen, [404, 404, 404]);
});

s('a login renews itself shortly before its end, once for all callers', async () => {
  await using world = await open();
  const { client, issuer, stored, store } = world;
  await logInWithBrowser(world);
  const first = await stored();
  const asked = issuer.tokenRequests;
  await client.whoAmI('aps');
  assert.is(issuer.tokenRequests, asked, 'a fresh token is used as it is');
  await store(ended);
  const all = await Promise.all(Array.from({ length: 8 }, () => client.whoAmI('aps')));
  assert.equal(
    all.map(({ subject }) => subject),
    Array.from({ length: 8 }, () => USER),
  );
  assert.is(issuer.tokenRequests, asked + 1);
  const second = await stored();
  assert.not(second.accessToken === first.accessToken || second.refreshToken === first.refreshToken);
  await store({ obtainedAt: ago(10 * MINUTE_MS), expiresAt: new Date(Date.now() + MINUTE_MS / 2).toISOString() });
  await client.whoAmI('aps');
  assert.is(issuer.tokenRequests, asked + 2, 'before it ends');
});

s('a login is used to its end while the issuer is unreachable', async () => {
  await using world = await open();
  const { client, issuer, store } = world;
  await logInWithBrowser(world);
  await client.whoAmI('aps');
  issuer.stop();
  await store({ obtainedAt: ago(20 * MINUTE_MS), expiresAt: new Date(Date.now() + MINUTE_MS - 1).toISOString() });
  assert.is((await client.whoAmI('aps')).subject, USER);
  await store(ended);
  await refused(client.whoAmI('aps'), 'SCI_ISSUER_UNREACHABLE');
  issuer.resume();
  assert.is((await client.whoAmI('aps')).subject, USER);
});

s('a login replaces the lock of a dead process', async () => {
  await using world = await open();
  const { client, store, file } = world;
  await logInWithBrowser(world);
  await store(ended);
  // Above the largest possible pid (proc(5), pid_max).
  await writeFile(`${file}.lock`, JSON.stringify({ host: hostname(), pid: 4_194_305 }));
  assert.is((await client.whoAmI('aps')).subject, USER);
  assert.equal(await readdir(join(file, '..')), ['aps.json']);
});

s('an unusable directory is reported immediately', async () => {
  await using world = await open();
  await writeFile(join(world.file, '..', '..', 'logins'), 'a file');
  const error = await refused(logInWithBrowser(world), 'SCI_LOGIN_FAILED');
  assert.match(error.message, /cannot be stored: EEXIST/);
});

s('a login must be repeated if it cannot be renewed or is no longer trusted', async () => {
  await using world = await open();
  const { client, file, issuer, stored, store, login } = world;
  await logInWithBrowser(world);
  const { refreshToken } = await stored();
  await chmod(file, 0o644);
  assert.match((await refused(client.whoAmI('aps'), 'SCI_LOGIN_REQUIRED')).message, /other users can read/);
  await chmod(file, 0o600);
  await store({ issuer: 'https://elsewhere.example' });
  await refused(client.whoAmI('aps'), 'SCI_LOGIN_REQUIRED');
  await store({ issuer: login.issuer, ...ended });
  assert.ok(await issuer.redeems(refreshToken));
  const { message } = await refused(client.whoAmI('aps'), 'SCI_LOGIN_REQUIRED');
  assert.not.match(message, refreshToken);
  await writeFile(file, '{');
  await refused(client.whoAmI('aps'), 'SCI_LOGIN_REQUIRED');
  await logInWithBrowser(world);
  assert.is((await client.whoAmI('aps')).subject, USER);
});

s('logout revokes and removes the tokens', async () => {
  await using world = await open();
  const { client, file, issuer, stored, login } = world;
  await logInWithBrowser(world);
  const { refreshToken } = await stored();
  assert.equal(await logOut(login), { existed: true });
  assert.not(await issuer.redeems(refreshToken));
  assert.equal(await readdir(join(file, '..')), []);
  await refused(client.whoAmI('aps'), 'SCI_LOGIN_REQUIRED');
  assert.equal(await logOut(login), { existed: false });
  await logInWithBrowser(world);
  issuer.stop();
  const { existed, notRevoked } = await logOut(login);
  assert.equal([existed, notRevoked?.code], [true, 'SCI_ISSUER_UNREACHABLE']);
  assert.equal(await readdir(join(file, '..')), [], 'removed nevertheless');
});

s('a login is used only for its control server, whatever name another configuration gives it', async () => {
  await using world = await open();
  const { otherClient, server, store, stored } = world;
  await using other = await TestServer.start();
  await logInWithBrowser(world);
  const { address, fingerprint } = server.listening;
  await using same = otherClient(address, { fingerprint });
  assert.is((await same.whoAmI('aps')).subject, USER);
  const certificate = join(other.state, 'tls', 'server.crt');
  for (const [s2cs, trust] of [
    [other.listening.address, { fingerprint: other.listening.fingerprint }],
    [other.listening.address, { fingerprint }],
    [address, { insecure: true }],
    [address, { ca: certificate }],
    [address, {}],
  ] as const) {
    await using client = otherClient(s2cs, trust);
    const { message, suggestions } = await refused(client.whoAmI('aps'), 'SCI_LOGIN_REQUIRED');
    assert.match(message, address);
    assert.equal(suggestions, ['scistream login aps']);
  }
  assert.not.match(other.log.text, 'WhoAmI', 'the other server was not called');
  const { server: _server, ...old } = (await stored()) as Stored & { server?: string };
  await store({ ...old, server: undefined });
  await refused(same.whoAmI('aps'), 'SCI_LOGIN_REQUIRED');
  assert.equal(await logOut(world.login), { existed: true }, 'its tokens are revoked nevertheless');
});

s('a login is never sent to the server of a ticket or of an address', async () => {
  await using world = await open();
  await logInWithBrowser(world);
  const { address, fingerprint = '' } = world.server.listening;
  await refused(world.client.whoAmI(`${address}#${fingerprint}`), 'SCI_TOKEN_MISSING');
});

s.run();
