import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger } from '@scistream/core';
import { clientStateDir, Journal, type Endpoint, type JournalEntry } from '@scistream/core/client';

const s = suite<{ dir: string; journal: Journal }>('journal');

const APS: Endpoint = {
  facility: 'aps',
  address: { host: '127.0.0.1', port: 5000 },
  trust: { kind: 'pin', fingerprint: `sha256:${'0a'.repeat(32)}` },
  token: { env: 'APS_TOKEN' },
};
const ALCF: Endpoint = {
  facility: '[::1]:5001',
  address: { host: '::1', port: 5001 },
  trust: { kind: 'ca', file: '/ca.crt' },
};
const ENTRY: JournalEntry = {
  uid: 'stream-0001',
  name: 'tomo',
  from: APS,
  to: ALCF,
  createdAt: '2026-01-01T00:00:00.000Z',
  expiresAt: '2026-01-01T08:00:00.000Z',
};

s.before.each(async (context) => {
  context.dir = await mkdtemp(join(tmpdir(), 'journal-'));
  context.journal = new Journal(context.dir);
});
s.after.each(async ({ dir }) => rm(dir, { recursive: true }));

s('an entry is returned as it was written, until it is removed', async ({ journal }) => {
  assert.is(await journal.get(ENTRY.uid), undefined);
  assert.equal(await journal.list(), []);
  await journal.put(ENTRY);
  assert.equal(await journal.get(ENTRY.uid), ENTRY);
  assert.equal(await journal.list(), [ENTRY]);
  await journal.drop(ENTRY.uid, ['from', 'to']);
  await journal.drop(ENTRY.uid, ['from', 'to']);
  assert.equal(await journal.list(), []);
});

s('an unreadable journal is empty, with one warning', async ({ dir }) => {
  await writeFile(join(dir, 'streams'), '');
  const warnings: string[] = [];
  const log = { ...silentLogger, warn: (_fields: object, message: string) => void warnings.push(message) };
  assert.equal(await new Journal(dir, log).list(), []);
  assert.is(warnings.length, 1);
});

s('only the user can read the files', async ({ journal, dir }) => {
  await journal.put(ENTRY);
  assert.is((await stat(join(dir, 'streams', 'stream-0001.json'))).mode & 0o777, 0o600);
  assert.is((await stat(join(dir, 'streams'))).mode & 0o777, 0o700);
});

s('the side of an earlier entry is kept, and sides are removed individually', async ({ journal, dir }) => {
  const { to: _to, ...inbound } = ENTRY;
  const { from: _from, ...outbound } = ENTRY;
  await journal.put(inbound);
  await journal.put(outbound);
  assert.equal(await journal.get(ENTRY.uid), ENTRY);
  await journal.drop(ENTRY.uid, ['from']);
  assert.equal(await journal.get(ENTRY.uid), outbound);
  await journal.drop(ENTRY.uid, ['to']);
  assert.equal(await readdir(join(dir, 'streams')), []);
});

s('lists the oldest entry first, and skips unreadable entries with a warning', async ({ dir }) => {
  const warnings: object[] = [];
  const journal = new Journal(dir, { ...silentLogger, warn: (fields) => void warnings.push(fields) });
  await journal.put({ ...ENTRY, uid: 'younger-1', createdAt: '2026-01-02T00:00:00.000Z' });
  await journal.put(ENTRY);
  await writeFile(join(dir, 'streams', 'damaged-1.json'), '{"uid":');
  await writeFile(join(dir, 'streams', 'strange-1.json'), JSON.stringify({ ...ENTRY, token: 'secret' }));
  assert.equal(
    (await journal.list()).map(({ uid }) => uid),
    ['stream-0001', 'younger-1'],
  );
  assert.is(warnings.length, 2);
});

s('a uid cannot lead out of the directory', async ({ journal }) => {
  for (const uid of ['../../etc/passwd', 'a', '..']) {
    try {
      await journal.get(uid);
      assert.unreachable(uid);
    } catch (error) {
      assert.is((error as { code?: string }).code, 'SCI_UID_INVALID');
    }
  }
});

s('concurrent writers leave one valid entry', async ({ journal, dir }) => {
  await Promise.all(Array.from({ length: 20 }, (_, i) => journal.put({ ...ENTRY, name: `n${i}` })));
  assert.match((await journal.get(ENTRY.uid))?.name ?? '', /^n\d+$/);
  assert.equal(await readdir(join(dir, 'streams')), ['stream-0001.json']);
});

s('the environment selects the state directory', () => {
  assert.is(clientStateDir({ SCISTREAM_STATE_DIR: '/a', XDG_STATE_HOME: '/b' }), '/a/scistream');
  assert.is(clientStateDir({ XDG_STATE_HOME: '/b' }), '/b/scistream');
  assert.is(clientStateDir({ XDG_STATE_HOME: 'b' }), clientStateDir({}), 'a relative path counts as unset');
  assert.match(clientStateDir({}), /\/\.local\/state\/scistream$/);
});

s.run();
