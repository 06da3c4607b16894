import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ClassicLevel } from 'classic-level';
import { expectCode, storeContract, temporaryDirectory, testRecord } from '@scistream/core/testing';
import { ENDED_LIMITS, LevelStreamStore, MemoryStreamStore, StateDatabase } from '@scistream/core/internal';

const s = suite('stream stores');

storeContract({ name: 'memory', test: s, open: async () => ({ store: new MemoryStreamStore() }) });

const directories: (() => Promise<void>)[] = [];
s.after(async () => {
  for (const remove of directories) await remove();
});

async function stateDirectory(): Promise<string> {
  const directory = await temporaryDirectory();
  directories.push(() => directory.remove());
  return directory.path;
}

async function openStore(path: string): Promise<LevelStreamStore> {
  const store = new LevelStreamStore(path);
  await store.open();
  return store;
}

storeContract({
  name: 'level',
  test: s,
  open: async () => {
    const path = await stateDirectory();
    return { store: await openStore(path), again: () => openStore(path) };
  },
});

s('rejects a second process while the state is open', async () => {
  const path = await stateDirectory();
  const store = await openStore(path);
  await expectCode('SCI_STATE_LOCKED', openStore(path));
  await store.close();
  await (await openStore(path)).close();
});

s('rejects a damaged or newer state and leaves it unchanged', async () => {
  const damaged = await stateDirectory();
  await (await openStore(damaged)).close();
  await writeFile(join(damaged, 'db', 'CURRENT'), 'rubbish\n');
  await expectCode('SCI_STATE_DAMAGED', openStore(damaged));
  await rm(join(damaged, 'db'), { recursive: true });
  await (await openStore(damaged)).close();

  const newer = await stateDirectory();
  await (await openStore(newer)).close();
  const level = new ClassicLevel<string, unknown>(join(newer, 'db'), { valueEncoding: 'json' });
  await level.put('schema', 999);
  await level.close();
  await expectCode('SCI_STATE_NEWER', openStore(newer));
});

s('no owner displaces the ended streams of another, by number or by bytes', async () => {
  for (const limits of [
    { ...ENDED_LIMITS, endedStreams: 10 },
    { ...ENDED_LIMITS, endedBytes: 10_000 },
    { ...ENDED_LIMITS, endedBytesPerIdentity: 5_000 },
  ]) {
    const store = new MemoryStreamStore(limits);
    await store.create({ ...testRecord('of-bob', 'released'), owner: 'token:bob' });
    for (let i = 0; i < 100; i += 1) await store.create(testRecord(`s${i}`, 'released'));
    const uids = (await store.list()).map(({ uid }) => uid);
    assert.ok(uids.includes('of-bob') && uids.includes('s99') && !uids.includes('s0'), uids.join());
    assert.ok(uids.length <= 25, `${uids.length} are kept`);
  }
});

s('ended streams are forgotten after their time, also at the start', async () => {
  const path = await stateDirectory();
  const limits = { ...ENDED_LIMITS };
  const store = new LevelStreamStore(path, limits);
  await store.open();
  await store.create(testRecord('old-one', 'released'));
  await store.create(testRecord('alive'));
  await store.close();
  limits.endedAgeMs = -1;
  const next = new LevelStreamStore(path, limits);
  await next.open();
  assert.equal(
    (await next.list()).map(({ uid }) => uid),
    ['alive'],
  );
  await next.create(testRecord('short-one', 'released'));
  await next.create(testRecord('another'));
  assert.not.ok(await next.get('short-one'));
  await next.close();
});

s('an earlier state with large records of ended streams opens with what is within the limits', async () => {
  const path = await stateDirectory();
  const database = await StateDatabase.open(path);
  const announced = Array.from({ length: 4096 }, (_, i) => ({ host: `${i}.${'x'.repeat(60)}.example`, port: 9 }));
  const expiresAt = new Date().toISOString();
  const put = async (uid: string, record: object): Promise<void> => {
    const detail = announced.map(({ host }) => host).join(' ');
    const event = { number: 1, at: expiresAt, what: 'hello', detail };
    await database.write([
      {
        type: 'put',
        table: 'streams',
        key: uid,
        value: { order: 1, record: { ...testRecord(uid), expiresAt, ...record } },
      },
      { type: 'put', table: 'events', key: `${uid}!000000001`, value: event },
    ]);
  };
  for (let i = 0; i < 30; i += 1)
    await put(`large-${i}`, {
      state: 'released',
      announced: i % 2 ? announced.slice(0, 3000) : [...announced, ...announced],
    });
  await put('alive-one', { state: 'active', announced });
  await put('small-one', { state: 'failed', owner: 'token:bob' });
  await database.close();
  for (let start = 0; start < 2; start += 1) {
    const store = await openStore(path);
    const uids = (await store.list()).map(({ uid }) => uid);
    assert.ok(uids.includes('alive-one') && uids.includes('small-one'), uids.join());
    assert.ok(uids.length > 10 && uids.length < 20, `${uids.length} are kept`);
    for (const uid of uids) assert.ok(JSON.stringify(await store.events(uid)).length < 3_000);
    await store.close();
  }
  const after = await StateDatabase.open(path);
  assert.ok(JSON.stringify(await after.entries('events')).length < 50_000, 'the rest is removed from the disk');
  await after.close();
});

/** A record must survive a kill immediately after the answer. */
s('a record is on disk when create returns', async () => {
  const path = await stateDirectory();
  const server = import.meta.resolve('@scistream/core/internal');
  const script = `
    import { LevelStreamStore } from '${server}';
    const store = new LevelStreamStore(process.argv[1]);
    await store.open();
    await store.create(JSON.parse(process.argv[2]));
    process.kill(process.pid, 'SIGKILL');`;
  const args = ['--input-type=module', '-e', script, path, JSON.stringify(testRecord('survivor'))];
  await once(spawn(process.execPath, args, { stdio: 'inherit' }), 'exit');
  const store = await openStore(path);
  assert.equal(await store.get('survivor'), testRecord('survivor'));
  await store.close();
});

s('further addresses of a target are kept, and damaged ones are found', async () => {
  const path = await stateDirectory();
  const targets = [{ host: '10.0.0.1', port: 1, fallbacks: ['10.0.0.2', '::1'] }];
  const store = await openStore(path);
  await store.create({ ...testRecord('several'), targets });
  await store.close();
  const again = await openStore(path);
  assert.equal((await again.get('several'))?.targets, targets);
  await again.create({ ...testRecord('damaged'), targets: [{ host: '10.0.0.1', port: 1, fallbacks: ['a.name'] }] });
  await again.close();
  await expectCode('SCI_STATE_DAMAGED', openStore(path));
});

s.run();
