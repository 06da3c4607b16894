/** Streams of other owners, in the user client of an admin. */
import { createHash } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { toSciStreamError } from '@scistream/core/terminal';
import { S2UC } from '@scistream/core/client';
import { temporaryDirectory } from '@scistream/core/testing';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';
import { endpointOf, user } from '../../support/user.js';

const s = suite('streams of other owners');

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const PRODUCER = { producer: ['127.0.0.1:9'], name: 'tomo' };

async function site() {
  const directory = await temporaryDirectory();
  const tokens = ['alice', 'bob', 'root'].map((subject) => ({
    subject,
    sha256: sha256(`token-of-${subject}`),
    admin: subject === 'root',
  }));
  const server = await TestServer.start({ auth: [{ use: 'token', tokens }] });
  const tokenOf = (subject: string): string => join(directory.path, subject);
  const as = async (subject: string) => {
    const file = tokenOf(subject);
    await writeFile(file, `token-of-${subject}`, { mode: 0o600 });
    const caller = await user();
    return { ...caller, from: endpointOf(server, file) };
  };
  const dispose = async (): Promise<void> => {
    await server[Symbol.asyncDispose]();
    await directory.remove();
  };
  return { server, as, tokenOf, [Symbol.asyncDispose]: dispose };
}

s('an admin names the owner before a name changes a stream of another owner', async () => {
  await using here = await site();
  await using alice = await here.as('alice');
  await using root = await here.as('root');
  const { handle } = await alice.client.inbound({ from: alice.from, ...PRODUCER });
  const { uid } = handle;
  const change = { servers: [root.from], forChange: true };
  const code = async (ref: string, owner?: string): Promise<string> =>
    root.client.find(ref, { ...change, owner }).then(
      (found) => found.uid,
      (error: unknown) => toSciStreamError(error).code,
    );
  assert.is(await code('tomo'), 'SCI_USAGE');
  assert.is(await code(uid.slice(0, 8)), 'SCI_USAGE');
  assert.is(await code('tomo', 'token:bob'), 'SCI_STREAM_NOT_FOUND');
  assert.is(await code(uid), uid, 'a complete uid means one stream');
  assert.is(await code('tomo', 'token:alice'), uid);
  assert.is((await root.client.find('tomo', { servers: [root.from] })).uid, uid, 'reading needs no owner');
  await (await root.client.find('tomo', { ...change, owner: 'token:alice' })).down();
  assert.is((await handle.status()).state, 'released');
});

s('a name that streams of several owners have needs the owner', async () => {
  await using here = await site();
  await using alice = await here.as('alice');
  await using bob = await here.as('bob');
  await using root = await here.as('root');
  for (const { client, from } of [alice, bob]) await client.inbound({ from, ...PRODUCER });
  const error = await root.client.find('tomo', { servers: [root.from] }).then(
    () => undefined,
    (thrown: unknown) => toSciStreamError(thrown),
  );
  assert.is(error?.code, 'SCI_STREAM_AMBIGUOUS');
  assert.match(error?.suggestions.join() ?? '', '--owner token:');
});

s('trust settings that override win over those in the journal, and a wrong token keeps its entry', async () => {
  await using here = await site();
  await using alice = await here.as('alice');
  await using _bob = await here.as('bob');
  const { handle } = await alice.client.inbound({ from: alice.from, ...PRODUCER });
  const find = async (subject: string): Promise<string> => {
    const override = { token: { file: here.tokenOf(subject) } };
    await using client = new S2UC({}, { stateDir: alice.stateDir, override });
    return await client.find('tomo').then(
      ({ uid }) => uid,
      (error: unknown) => toSciStreamError(error).code,
    );
  };
  assert.is(await find('bob'), 'SCI_STREAM_NOT_FOUND');
  assert.equal(await alice.journal(), [`${handle.uid}.json`]);
  await rename(here.tokenOf('alice'), here.tokenOf('alice.new'));
  assert.is(await find('alice.new'), handle.uid);
});

s('own streams need no owner, without the journal too, and lists tell admins apart', async () => {
  await using here = await site();
  await using alice = await here.as('alice');
  await using elsewhere = await here.as('alice');
  await using root = await here.as('root');
  const { handle } = await alice.client.inbound({ from: alice.from, ...PRODUCER });
  const found = await elsewhere.client.find('tomo', { servers: [elsewhere.from], forChange: true });
  assert.is(found.uid, handle.uid);
  for (const [caller, admin] of [
    [alice, false],
    [root, true],
  ] as const) {
    const list = await caller.client.list({ servers: [caller.from] });
    assert.is(list.admin, admin);
    assert.equal(
      list.streams.map(({ owner }) => owner),
      ['token:alice'],
    );
  }
});

s.run();
