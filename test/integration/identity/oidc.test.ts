/** Tokens of an OpenID Connect issuer: which are accepted, and the codes of the others. */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateKeyPair, SignJWT } from 'jose';
import * as assert from 'uvu/assert';
import { type ErrorCode } from '@scistream/core';
import { toSciStreamError } from '@scistream/core/terminal';
import { ControlClient, resolveEndpoint } from '@scistream/core/client';
import { eventually, temporaryDirectory } from '@scistream/core/testing';
import { refused, type Peer } from '../../support/clients.js';
import { JWT_RESOURCE, OPAQUE_RESOURCE, OTHER_RESOURCE, ROBOT, TestIssuer, USER } from '../../support/issuer.js';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('tokens of an issuer');
const PATIENCE_MS = 60_000;

type Auth = readonly { readonly use: string; readonly [key: string]: unknown }[];

const jwtAuth = ({ url }: TestIssuer, more: object = {}): Auth[number] => ({
  use: 'oidc',
  issuer: url,
  audience: JWT_RESOURCE,
  scope: 'scistream',
  keys: { cooldown: '1ms' },
  timeout: '30s',
  ...more,
});

/** One connection per server, because every call has its own token. */
const peers = new WeakMap<TestServer, Promise<Peer>>();

async function ask(server: TestServer, token: string | undefined) {
  const peer = peers.get(server) ?? server.connect();
  peers.set(server, peer);
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return (await peer).streams.whoAmI({}, { headers });
}

/** The identity that the server sees in a token. */
const whoIs = (server: TestServer, token: string) => ask(server, token);

const mustRefuse = (server: TestServer, token: string | undefined, code: ErrorCode): Promise<string> =>
  refused(ask(server, token), code);

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const soon = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds;

s('a token of the issuer is accepted, with its subject, groups and end', async () => {
  await using issuer = await TestIssuer.start();
  await using server = await TestServer.start({ auth: [jwtAuth(issuer, { admins: [USER] })] });
  const robot = await whoIs(server, await issuer.token());
  assert.equal([robot.subject, robot.issuer, robot.admin], [ROBOT.id, issuer.url, false]);
  assert.equal(robot.groups, ['beamline-7']);
  const left = Date.parse(robot.expiresAt) - Date.now();
  assert.ok(left > 0 && left <= 600_000, robot.expiresAt);
  assert.ok((await whoIs(server, await issuer.forge())).admin, 'alice is one of the admins');
  const byGroup = jwtAuth(issuer, { groupsClaim: 'realm.roles', adminGroups: ['operators'], subjectClaim: 'email' });
  await using other = await TestServer.start({ auth: [byGroup] });
  const claims = { email: 'bob@example.org', realm: { roles: ['operators', 'a\nb'] } };
  const bob = await whoIs(other, await issuer.forge(claims));
  assert.equal([bob.subject, bob.admin, bob.groups], ['bob@example.org', true, ['operators']]);
});

s('every other token is rejected with its own code, and nothing is allocated', async () => {
  await using issuer = await TestIssuer.start();
  await using stranger = await TestIssuer.start();
  await using directory = await temporaryDirectory();
  const audit = { file: join(directory.path, 'audit'), size: 1_000_000, keep: 0 };
  await using server = await TestServer.start({ auth: [jwtAuth(issuer, { clockSkew: '5s' })], audit });
  const { privateKey } = await generateKeyPair('ES256');
  const good = await issuer.token();
  const [head = '', body = '', signature = ''] = good.split('.');
  const flipped = `${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`;
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const shared = new SignJWT({ iss: issuer.url, aud: JWT_RESOURCE, sub: USER }).setProtectedHeader({ alg: 'HS256' });
  const cases: readonly (readonly [string, string | undefined, ErrorCode])[] = [
    ['missing', undefined, 'SCI_TOKEN_MISSING'],
    ['empty', '', 'SCI_TOKEN_MISSING'],
    ['of existing clients without one', 'INVALID_TOKEN', 'SCI_TOKEN_MALFORMED'],
    ['cut', good.slice(0, good.lastIndexOf('.')), 'SCI_TOKEN_MALFORMED'],
    [
      'with a critical extension',
      await issuer.forge({}, undefined, { crit: ['x'], x: 1 }).catch(() => 'a.b.c'),
      'SCI_TOKEN_MALFORMED',
    ],
    ['without an end', await issuer.forge({ exp: undefined }), 'SCI_TOKEN_MALFORMED'],
    ['without a subject', await issuer.forge({ sub: undefined }), 'SCI_TOKEN_MALFORMED'],
    ['with a subject that breaks lines', await issuer.forge({ sub: 'a\nb' }), 'SCI_TOKEN_MALFORMED'],
    ['expired', await issuer.forge({ exp: soon(-60) }), 'SCI_TOKEN_EXPIRED'],
    ['not yet valid', await issuer.forge({ nbf: soon(600) }), 'SCI_TOKEN_NOT_YET_VALID'],
    ['of another issuer', await stranger.token(), 'SCI_TOKEN_ISSUER'],
    ['of no issuer', await issuer.forge({ iss: undefined }), 'SCI_TOKEN_ISSUER'],
    ['for another audience', await issuer.token(OTHER_RESOURCE), 'SCI_TOKEN_AUDIENCE'],
    ['for no audience', await issuer.forge({ aud: undefined }), 'SCI_TOKEN_AUDIENCE'],
    ['without the scope', await issuer.forge({ scope: 'openid' }), 'SCI_TOKEN_SCOPE'],
    ['without any scope', await issuer.forge({ scope: undefined }), 'SCI_TOKEN_SCOPE'],
    ['with another signature', `${head}.${body}.${flipped}`, 'SCI_TOKEN_SIGNATURE'],
    ['of another key with the id of ours', await issuer.forge({}, privateKey), 'SCI_TOKEN_SIGNATURE'],
    ['uses an unknown key', await issuer.forge({}, privateKey, { kid: 'nobodys' }), 'SCI_TOKEN_SIGNATURE'],
    ['that is not signed', `${part({ alg: 'none' })}.${body}.`, 'SCI_TOKEN_SIGNATURE'],
    ['with a shared secret', await shared.setExpirationTime('1h').sign(new Uint8Array(32)), 'SCI_TOKEN_SIGNATURE'],
  ];
  for (const [what, token, code] of cases) {
    await mustRefuse(server, token, code).catch((error: unknown) => {
      throw new Error(`a token ${what}`, { cause: error });
    });
  }
  assert.is(
    (await whoIs(server, await issuer.forge({ exp: soon(600), nbf: soon(1) }))).subject,
    USER,
    'within the skew',
  );
  const owner = await server.connect(`Bearer ${good}`);
  assert.equal((await owner.streams.list({ ended: true })).streams, []);
  const recorded = await readFile(audit.file, 'utf8');
  const told = recorded
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(
    told.map(({ action, decision, code }) => [action, decision, code]),
    [...new Set(cases.map(([, , code]) => code))].map((code) => ['authenticate', 'refused', code]),
    'the others of each code are counted',
  );
  const secrets = cases.flatMap(([, token]) => token?.split('.') ?? []).filter((one) => one.length > 20);
  for (const secret of secrets)
    assert.not((server.log.text + recorded).includes(secret), 'no part of a token is in a log');
});

s('only access tokens are accepted, and only those that any bearer may use', async () => {
  await using issuer = await TestIssuer.start();
  await using server = await TestServer.start({ auth: [jwtAuth(issuer)] });
  const typed = (typ: unknown) => issuer.forge({}, undefined, { typ });
  for (const typ of ['at+jwt', 'AT+JWT', 'application/at+jwt', 'JWT', 'application/jwt', undefined]) {
    assert.is((await whoIs(server, await typed(typ))).subject, USER, String(typ));
  }
  const events = { 'http://schemas.openid.net/event/backchannel-logout': {} };
  for (const token of [
    ...(await Promise.all(['logout+jwt', 'secevent+jwt', 'dpop+jwt', 'application/at+jwtx', '', 5].map(typed))),
    await issuer.forge({ nonce: 'n', at_hash: 'h' }),
    await issuer.forge({ at_hash: 'h' }),
    await issuer.forge({ events }),
    await issuer.forge({ cnf: { jkt: 'k' } }, undefined, { typ: 'at+jwt' }),
  ]) {
    await mustRefuse(server, token, 'SCI_TOKEN_MALFORMED');
  }
  assert.is((await whoIs(server, await issuer.forge({ nonce: 'n' }))).subject, USER, 'some issuers include it');
});

s('an expired token is rejected', async () => {
  await using issuer = await TestIssuer.start({ tokenSeconds: 2 });
  await using server = await TestServer.start({ auth: [jwtAuth(issuer, { clockSkew: '1ms' })] });
  const token = await issuer.token();
  await eventually(() => mustRefuse(server, token, 'SCI_TOKEN_EXPIRED').then(() => undefined), PATIENCE_MS);
});

s('a watch continues with the next token, and ends without one', async () => {
  await using directory = await temporaryDirectory();
  await using issuer = await TestIssuer.start();
  await using server = await TestServer.start({ auth: [jwtAuth(issuer, { clockSkew: '1ms' })] });
  const owner = await server.connect(`Bearer ${await issuer.forge()}`);
  const { uid } = await server.setUp({ peer: owner });
  const file = join(directory.path, 'token');
  const { address, fingerprint } = server.listening;
  const client = new ControlClient(resolveEndpoint(address, {}, { fingerprint, token: { file } }));
  const next = async (seconds: number): Promise<void> => writeFile(file, await issuer.forge({ exp: soon(seconds) }));
  await next(2);
  const seen: string[] = [];
  const watching = (async () => {
    for await (const { targets } of client.watch(uid)) seen.push(targets.join());
  })().catch((error: unknown) => toSciStreamError(error).code);
  await eventually(() => assert.is(seen.length, 1), PATIENCE_MS);
  await next(600);
  await eventually(() => assert.is(seen.length, 2), PATIENCE_MS);
  await owner.control.update({ uid, remoteListeners: ['127.0.0.1:9'] });
  await eventually(() => assert.is(seen.at(-1), '127.0.0.1:9'), PATIENCE_MS);
  await issuer.rotate();
  await whoIs(server, await issuer.token());
  assert.is(await watching, 'SCI_TOKEN_SIGNATURE');
  client.close();
});

s('keys are kept while the issuer is unreachable, and a new key is found', async () => {
  await using issuer = await TestIssuer.start();
  await using server = await TestServer.start({ auth: [jwtAuth(issuer)] });
  const old = await issuer.token();
  issuer.stop();
  await mustRefuse(server, old, 'SCI_ISSUER_UNREACHABLE');
  issuer.resume();
  assert.is((await whoIs(server, old)).subject, ROBOT.id, 'the issuer is asked again');
  issuer.stop();
  assert.is((await whoIs(server, old)).subject, ROBOT.id, 'the key is known');
  issuer.resume();
  const asked = issuer.requests.length;
  for (let i = 0; i < 20; i += 1) await whoIs(server, old);
  assert.is(issuer.requests.length, asked, 'the issuer is not asked on every call');
  await issuer.rotate();
  assert.is((await whoIs(server, await issuer.token())).subject, ROBOT.id);
  await mustRefuse(server, old, 'SCI_TOKEN_SIGNATURE');
});

s('expired keys are used while the issuer is unreachable, for a limited time', async () => {
  await using issuer = await TestIssuer.start();
  const keys = { maxAge: '1ms', cooldown: '1ms' };
  await using server = await TestServer.start({ auth: [jwtAuth(issuer, { keys })] });
  await using strict = await TestServer.start({ auth: [jwtAuth(issuer, { keys: { ...keys, maxStale: '1ms' } })] });
  const token = await issuer.token();
  const warnings = (): number => server.log.lines.filter(({ message }) => message.includes('cached keys')).length;
  for (const each of [server, strict]) assert.is((await whoIs(each, token)).subject, ROBOT.id);
  issuer.stop();
  assert.is((await whoIs(server, token)).subject, ROBOT.id);
  assert.ok(warnings() > 0, server.log.text);
  await eventually(() => mustRefuse(strict, token, 'SCI_ISSUER_UNREACHABLE').then(() => undefined), PATIENCE_MS);
  const { privateKey } = await generateKeyPair('ES256');
  await mustRefuse(server, await issuer.forge({}, privateKey), 'SCI_TOKEN_SIGNATURE');
  const unknown = await issuer.forge({}, privateKey, { kid: 'perhaps-a-new-one' });
  await mustRefuse(server, unknown, 'SCI_ISSUER_UNREACHABLE');
  await issuer.rotate();
  issuer.resume();
  await eventually(() => mustRefuse(server, token, 'SCI_TOKEN_SIGNATURE').then(() => undefined), PATIENCE_MS);
});

s('an unreachable issuer is not asked on every call', async () => {
  await using issuer = await TestIssuer.start();
  const keys = { maxAge: '1ms', cooldown: '10m' };
  await using server = await TestServer.start({ auth: [jwtAuth(issuer, { keys })] });
  const token = await issuer.token();
  await whoIs(server, token);
  issuer.stop();
  await whoIs(server, token);
  const asked = issuer.requests.length;
  for (let i = 0; i < 20; i += 1) await whoIs(server, token);
  assert.is(issuer.requests.length, asked);
  assert.is(server.log.lines.filter(({ level }) => level === 'warn').length, 1);
});

s('an issuer with another name is not trusted', async () => {
  await using issuer = await TestIssuer.start();
  const url = issuer.url.replace('127.0.0.1', 'localhost');
  await using server = await TestServer.start({ auth: [jwtAuth(issuer, { issuer: url })] });
  await mustRefuse(server, await issuer.forge({ iss: url }), 'SCI_ISSUER_UNREACHABLE');
  assert.match(server.log.text, /reports the issuer/);
});

s('an opaque token is introspected, and the answer is cached briefly', async () => {
  await using directory = await temporaryDirectory();
  const secretFile = join(directory.path, 'secret');
  await writeFile(secretFile, `${ROBOT.secret}\n`, { mode: 0o600 });
  await using issuer = await TestIssuer.start();
  const introspection = { clientId: ROBOT.id, secretFile, cache: '10m' };
  const auth = jwtAuth(issuer, { audience: [OPAQUE_RESOURCE], subjectClaim: 'client_id', introspection });
  await using server = await TestServer.start({ auth: [auth] });
  const token = await issuer.token(OPAQUE_RESOURCE);
  const robot = await whoIs(server, token);
  assert.equal([robot.subject, robot.issuer], [ROBOT.id, issuer.url]);
  const asked = issuer.requests.length;
  await Promise.all(Array.from({ length: 20 }, () => whoIs(server, token)));
  assert.is(issuer.requests.length, asked, 'the answer is cached');
  await mustRefuse(server, undefined, 'SCI_TOKEN_MISSING');
  await mustRefuse(server, 'öpaque', 'SCI_TOKEN_MALFORMED');
  await mustRefuse(server, 'nobodys', 'SCI_TOKEN_INACTIVE');
  assert.not(server.log.text.includes(token) || server.log.text.includes(ROBOT.secret));

  const revoked = await issuer.token(OPAQUE_RESOURCE);
  await issuer.revoke(revoked);
  await mustRefuse(server, revoked, 'SCI_TOKEN_INACTIVE');
  issuer.stop();
  await mustRefuse(server, 'new', 'SCI_ISSUER_UNREACHABLE');
  issuer.resume();
  await mustRefuse(server, 'new', 'SCI_TOKEN_INACTIVE');
  await writeFile(secretFile, 'wrong');
  await mustRefuse(server, 'newer', 'SCI_ISSUER_UNREACHABLE');
  assert.match(server.log.text, /introspection endpoint answered 401/);
});

s('a revoked token is rejected when the cached answer expires', async () => {
  await using issuer = await TestIssuer.start();
  process.env['TEST_INTROSPECTION_SECRET'] = ROBOT.secret;
  const introspection = { clientId: ROBOT.id, secretEnv: 'TEST_INTROSPECTION_SECRET', cache: '20ms' };
  await using server = await TestServer.start({
    auth: [jwtAuth(issuer, { audience: OPAQUE_RESOURCE, subjectClaim: 'client_id', introspection })],
  });
  const token = await issuer.token(OPAQUE_RESOURCE);
  await whoIs(server, token);
  await issuer.revoke(token);
  await eventually(() => mustRefuse(server, token, 'SCI_TOKEN_INACTIVE').then(() => undefined), PATIENCE_MS);
  await mustRefuse(server, await issuer.token(OPAQUE_RESOURCE, ''), 'SCI_TOKEN_SCOPE');
});

s('an answer is never cached longer than the token is valid', async () => {
  await using issuer = await TestIssuer.start({ tokenSeconds: 2 });
  process.env['TEST_INTROSPECTION_SECRET'] = ROBOT.secret;
  const introspection = { clientId: ROBOT.id, secretEnv: 'TEST_INTROSPECTION_SECRET', cache: '1h' };
  await using server = await TestServer.start({
    auth: [jwtAuth(issuer, { audience: OPAQUE_RESOURCE, subjectClaim: 'client_id', introspection })],
  });
  const token = await issuer.token(OPAQUE_RESOURCE);
  await eventually(() => mustRefuse(server, token, 'SCI_TOKEN_INACTIVE').then(() => undefined), PATIENCE_MS);
});

s('introspection sends no token that another authenticator knows or another issuer signed', async () => {
  await using issuer = await TestIssuer.start();
  await using jwts = await TestIssuer.start();
  process.env['TEST_INTROSPECTION_SECRET'] = ROBOT.secret;
  const introspection = { clientId: ROBOT.id, secretEnv: 'TEST_INTROSPECTION_SECRET' };
  const asks = jwtAuth(issuer, { audience: OPAQUE_RESOURCE, subjectClaim: 'client_id', introspection });
  const tokens = { use: 'token', tokens: [{ subject: 'carol', sha256: sha256('carols') }] };
  const asked = (): number => issuer.requests.filter((path) => path.includes('introspection')).length;
  await using server = await TestServer.start({ auth: [asks, jwtAuth(jwts), tokens] });
  assert.is((await whoIs(server, 'carols')).subject, 'carol');
  assert.is((await whoIs(server, await jwts.forge())).issuer, jwts.url);
  await mustRefuse(server, await jwts.forge({ exp: soon(-60) }), 'SCI_TOKEN_EXPIRED');
  await mustRefuse(server, await issuer.forge({ iss: 'https://elsewhere.example' }), 'SCI_UNAUTHENTICATED');
  assert.is(asked(), 0, 'it received none of them');
  assert.is((await whoIs(server, await issuer.token(OPAQUE_RESOURCE))).subject, ROBOT.id);
  await mustRefuse(server, 'nobodys', 'SCI_TOKEN_INACTIVE');
  assert.is(asked(), 2);
  await using alone = await TestServer.start({ auth: [asks] });
  await mustRefuse(alone, await jwts.forge(), 'SCI_TOKEN_ISSUER');
  // This issuer has no answer for JWTs, but it is the one to ask.
  await mustRefuse(alone, await issuer.forge(), 'SCI_ISSUER_UNREACHABLE');
  assert.is(asked(), 3);
  await using open = await TestServer.start({ auth: [asks, { use: 'none' }] });
  assert.is((await whoIs(open, await issuer.token(OPAQUE_RESOURCE))).subject, ROBOT.id, 'none accepts the others');
  assert.is((await whoIs(open, 'nobodys')).subject, 'anonymous');
});

s('with several authenticators, the most specific error is returned', async () => {
  await using issuer = await TestIssuer.start();
  await using other = await TestIssuer.start();
  const tokens: Auth[number] = { use: 'token', tokens: [{ subject: 'carol', sha256: `sha256:${sha256('carols')}` }] };
  await using server = await TestServer.start({ auth: [jwtAuth(issuer), jwtAuth(other), tokens] });
  assert.is((await whoIs(server, 'carols')).subject, 'carol');
  assert.is((await whoIs(server, await other.token())).issuer, other.url);
  await mustRefuse(server, undefined, 'SCI_TOKEN_MISSING');
  await mustRefuse(server, 'nobodys', 'SCI_UNAUTHENTICATED');
  await mustRefuse(server, await other.forge({ exp: soon(-60) }), 'SCI_TOKEN_EXPIRED');
  await using third = await TestIssuer.start();
  await mustRefuse(server, await third.token(), 'SCI_UNAUTHENTICATED');
  other.stop();
  assert.is((await whoIs(server, 'carols')).subject, 'carol', 'an unreachable issuer does not block others');
  await other.rotate();
  await mustRefuse(server, await other.forge(), 'SCI_ISSUER_UNREACHABLE');
});

s.run();
