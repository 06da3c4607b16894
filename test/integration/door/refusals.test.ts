/** Unauthorized callers: each is rejected with its own code before anything is allocated, and audited. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { ErrorCode } from '@scistream/core';
import { eventually, temporaryDirectory } from '@scistream/core/testing';
import { refused, type Peer } from '../../support/clients.js';
import { JWT_RESOURCE, OPAQUE_RESOURCE, OTHER_RESOURCE, ROBOT, TestIssuer, USER } from '../../support/issuer.js';
import { NOTHING } from '../../support/leftovers.js';
import { TestServer, type ServerOptions } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('refusals');
const PATIENCE_MS = 60_000;

/** A control server with an audit log. */
async function audited(auth: ServerOptions['auth']) {
  const directory = await temporaryDirectory();
  const file = join(directory.path, 'audit.jsonl');
  const server = await TestServer.start({ auth, audit: { file, size: 1e6, keep: 0 } });
  /** The rejected calls, in order. */
  const told = async (): Promise<readonly unknown[]> =>
    (await readFile(file, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ decision }) => decision === 'refused')
      .map(({ who = '', action, code }) => [who, action, code].join(' ').trim());
  const close = async (): Promise<void> => {
    await server[Symbol.asyncDispose]();
    await directory.remove();
  };
  return { server, told, [Symbol.asyncDispose]: close };
}

const request = (peer: Peer): Promise<unknown> => peer.control.req({ uid: randomUUID(), role: 'PROD', numConn: 1 });

s('stranger, wrong audience, expired, wrong issuer, other owner', async () => {
  await using issuer = await TestIssuer.start();
  await using another = await TestIssuer.start();
  const options = { issuer: issuer.url, audience: JWT_RESOURCE, scope: 'scistream', timeout: '30s' };
  await using site = await audited([{ use: 'oidc', ...options }]);
  const { server } = site;
  const past = Math.floor(Date.now() / 1000) - 3600;
  const callers: readonly (readonly [string, ErrorCode])[] = [
    ['INVALID_TOKEN', 'SCI_TOKEN_MALFORMED'],
    ['', 'SCI_TOKEN_MISSING'],
    [await issuer.token(OTHER_RESOURCE), 'SCI_TOKEN_AUDIENCE'],
    [await issuer.forge({ exp: past }), 'SCI_TOKEN_EXPIRED'],
    [await another.token(), 'SCI_TOKEN_ISSUER'],
  ];
  for (const [token, code] of callers) await refused(request(await server.connect(`Bearer ${token}`)), code);
  assert.equal(await server.leftovers(), NOTHING);

  const alice = await server.connect(`Bearer ${await issuer.forge()}`);
  const robot = await server.connect(`Bearer ${await issuer.token()}`);
  const { uid } = await server.setUp({ peer: alice });
  await refused(robot.control.update({ uid, remoteListeners: ['127.0.0.1:9'] }), 'SCI_STREAM_NOT_FOUND');
  await refused(robot.control.release({ uid }), 'SCI_STREAM_NOT_FOUND');
  const { owner, targets } = await alice.streams.get({ uid });
  assert.equal([owner, targets], [`${issuer.url}:${USER}`, []]);
  await alice.control.release({ uid });
  assert.equal(await server.leftovers(), NOTHING);
  assert.equal(await site.told(), [
    ...callers.map(([, code]) => `authenticate ${code}`),
    ...['update', 'release'].map((action) => `${issuer.url}:${ROBOT.id} ${action} SCI_STREAM_NOT_FOUND`),
  ]);
});

s('revoked', async () => {
  await using issuer = await TestIssuer.start();
  process.env['TEST_INTROSPECTION_SECRET'] = ROBOT.secret;
  const introspection = { clientId: ROBOT.id, secretEnv: 'TEST_INTROSPECTION_SECRET', cache: '1ms' };
  const options = { issuer: issuer.url, audience: OPAQUE_RESOURCE, subjectClaim: 'client_id', timeout: '30s' };
  await using site = await audited([{ use: 'oidc', ...options, introspection }]);
  const { server } = site;
  const token = await issuer.token(OPAQUE_RESOURCE);
  const robot = await server.connect(`Bearer ${token}`);
  const { uid } = await server.setUp({ peer: robot });
  const watching = robot.streams.watch({ uid })[Symbol.asyncIterator]();
  assert.not((await watching.next()).done);
  await issuer.revoke(token);
  await refused(watching.next(), 'SCI_TOKEN_INACTIVE');
  await eventually(() => refused(robot.streams.whoAmI({}), 'SCI_TOKEN_INACTIVE').then(() => undefined), PATIENCE_MS);
  const before = await server.leftovers();
  await refused(request(robot), 'SCI_TOKEN_INACTIVE');
  assert.equal(await server.leftovers(), before);
  assert.is((await site.told()).at(-1), 'authenticate SCI_TOKEN_INACTIVE');
});

s.run();
