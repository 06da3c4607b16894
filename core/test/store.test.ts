import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError, type ErrorCode, type StreamRecord, type StreamState } from '@scistream/core';
import { MemoryStreamStore } from '@scistream/core/server';

const s = suite('memory stream store');

const record = (uid: string, state: StreamState = 'reserving'): StreamRecord => ({
  uid,
  version: 1,
  name: '',
  role: 'PROD',
  state,
  owner: 'none:anonymous',
  gateway: 'g',
  proxy: 'relay',
  runtime: 'process',
  transport: 'tcp',
  listeners: [],
  announced: [],
  targets: [],
  bitsPerSecond: 0,
  rateEnforced: false,
  legacyRate: 0,
  createdAt: '2026-01-01T00:00:00.000Z',
  expiresAt: '2026-01-02T00:00:00.000Z',
});

async function refuses(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  const error: unknown = await promise.then(
    () => assert.unreachable(`expected ${code}`),
    (thrown: unknown) => thrown,
  );
  if (!SciStreamError.is(error)) throw error;
  assert.is(error.code, code);
}

s('keeps what it is given, by uid', async () => {
  const store = new MemoryStreamStore();
  assert.is(await store.get('a'), undefined);
  await store.create(record('a'));
  await store.create(record('b'));
  assert.equal(await store.get('a'), record('a'));
  assert.equal(
    (await store.list()).map(({ uid }) => uid),
    ['a', 'b'],
  );
  await store.delete('a');
  await store.delete('a');
  assert.equal(
    (await store.list()).map(({ uid }) => uid),
    ['b'],
  );
});

s('raises the version with every change, and touches nothing but what changes', async () => {
  const store = new MemoryStreamStore();
  await store.create(record('a'));
  const waiting = await store.update('a', 1, { state: 'waiting' });
  assert.equal(waiting, { ...record('a'), state: 'waiting', version: 2 });
  const targets = [{ host: '127.0.0.1', port: 1 }];
  assert.equal(await store.update('a', 2, { state: 'active', targets }), {
    ...waiting,
    state: 'active',
    targets,
    version: 3,
  });
  assert.is((await store.get('a'))?.version, 3);
});

s('an update of an old version loses, and a change cannot rename or renumber a record', async () => {
  const store = new MemoryStreamStore();
  await store.create(record('a'));
  await Promise.all([
    store.update('a', 1, { state: 'waiting' }),
    refuses(store.update('a', 1, { state: 'failed' }), 'SCI_STREAM_CONFLICT'),
  ]);
  assert.is((await store.get('a'))?.state, 'waiting');
  await store.update('a', 2, { uid: 'b', version: 99 });
  assert.equal([(await store.get('a'))?.version, await store.get('b')], [3, undefined]);
  await refuses(store.update('nobody', 1, {}), 'SCI_STREAM_NOT_FOUND');
});

s('a uid is taken until its stream has ended', async () => {
  const states: StreamState[] = ['reserving', 'waiting', 'provisioned', 'updating', 'active', 'releasing'];
  for (const state of states) {
    const store = new MemoryStreamStore();
    await store.create(record('a', state));
    await refuses(store.create(record('a')), 'SCI_STREAM_EXISTS');
    assert.is((await store.get('a'))?.state, state);
  }
  for (const state of ['failed', 'released'] as const) {
    const store = new MemoryStreamStore();
    await store.create(record('a', state));
    await store.create(record('b'));
    await store.create(record('a'));
    assert.equal(
      (await store.list()).map(({ uid, state: now }) => [uid, now]),
      [
        ['b', 'reserving'],
        ['a', 'reserving'],
      ],
    );
  }
});

s('remembers the last 1000 streams that have ended, and every one that lives', async () => {
  const store = new MemoryStreamStore();
  await store.create(record('alive'));
  for (let i = 0; i < 1_200; i += 1) {
    await store.create(record(`s${i}`));
    await store.update(`s${i}`, 1, { state: i % 2 ? 'failed' : 'released' });
  }
  const uids = (await store.list()).map(({ uid }) => uid);
  assert.equal([uids.length, uids[0], uids[1], uids.at(-1)], [1_001, 'alive', 's200', 's1199']);
});

s.run();
