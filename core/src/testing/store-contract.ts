import assert from 'node:assert/strict';
import type { StreamStore } from '../contracts/stream-store.js';
import type { StreamEvent, StreamRecord, StreamState } from '../contracts/stream.js';
import { expectCode } from './proxy-environment.js';
import { testSpec } from './support.js';

/** Parameters of {@link storeContract}. */
export interface StoreContract {
  /** Prefix of the test names. */
  readonly name: string;
  /** Registers a test with any runner. */
  readonly test: (name: string, run: () => Promise<void>) => void;
  /**
   * Opens an empty store. For persistent stores, `again` reopens it as the next process would, after the first is
   * closed.
   */
  readonly open: () => Promise<{ readonly store: StreamStore; readonly again?: () => Promise<StreamStore> }>;
}

/** A valid record for tests. */
export const testRecord = (uid: string, state: StreamState = 'reserving'): StreamRecord => ({
  uid,
  version: 1,
  spec: testSpec,
  state,
  owner: 'none:anonymous',
  gateway: 'g',
  proxy: 'relay',
  runtime: 'process',
  listeners: [{ host: '::1', port: 5100 }],
  announced: [],
  targets: [],
  rateEnforced: false,
  createdAt: '2026-01-01T00:00:00.000Z',
  expiresAt: '2026-01-02T00:00:00.000Z',
});

const event = (what: StreamEvent['what'], detail = ''): StreamEvent => ({
  at: '2026-01-01T00:00:01.000Z',
  what,
  by: 'token:alice',
  detail,
});

/** The events of a stream without the ids that the store has given. */
const historyOf = async (store: StreamStore, uid: string): Promise<readonly StreamEvent[]> =>
  (await store.events(uid)).map(({ id: _id, ...given }) => given);

const uidsOf = async (store: StreamStore): Promise<readonly string[]> => (await store.list()).map(({ uid }) => uid);

type Case = (store: StreamStore, again: (() => Promise<StreamStore>) | undefined) => Promise<void>;

const cases: Readonly<Record<string, Case>> = {
  'stores records by uid': async (store) => {
    assert.equal(await store.get('a'), undefined);
    await store.create(testRecord('a'));
    await store.create(testRecord('b'));
    assert.deepEqual(await store.get('a'), testRecord('a'));
    assert.deepEqual(await uidsOf(store), ['a', 'b']);
    await store.delete('a');
    await store.delete('a');
    assert.deepEqual(await uidsOf(store), ['b']);
  },

  'increments the version with every change and keeps other fields': async (store) => {
    await store.create(testRecord('a'));
    const waiting = await store.update('a', 1, { state: 'waiting' });
    assert.deepEqual(waiting, { ...testRecord('a'), state: 'waiting', version: 2 });
    const targets = [{ host: '127.0.0.1', port: 1 }];
    const active = await store.update('a', 2, { state: 'active', targets });
    assert.deepEqual(active, { ...waiting, state: 'active', targets, version: 3 });
    assert.deepEqual(await store.get('a'), active);
  },

  'rejects an update of an old version, and never changes uid or version': async (store) => {
    await store.create(testRecord('a'));
    await Promise.all([
      store.update('a', 1, { state: 'waiting' }, event('reserved')),
      expectCode('SCI_STREAM_CONFLICT', store.update('a', 1, { state: 'failed' }, event('failed'))),
    ]);
    assert.equal((await store.get('a'))?.state, 'waiting');
    assert.deepEqual(
      (await store.events('a')).map(({ what }) => what),
      ['reserved'],
    );
    await store.update('a', 2, { uid: 'b', version: 99 });
    assert.deepEqual([(await store.get('a'))?.version, await store.get('b')], [3, undefined]);
    await expectCode('SCI_STREAM_NOT_FOUND', store.update('unknown', 1, {}));
  },

  'rejects a uid until its stream has ended': async (store) => {
    const states: StreamState[] = ['reserving', 'waiting', 'provisioned', 'updating', 'active', 'releasing'];
    for (const state of states) {
      await store.create(testRecord(`u-${state}`, state));
      await expectCode('SCI_STREAM_EXISTS', store.create(testRecord(`u-${state}`)));
      assert.equal((await store.get(`u-${state}`))?.state, state);
    }
    await store.create(testRecord('a', 'failed'), event('failed'));
    await store.create(testRecord('b', 'released'));
    await store.create(testRecord('a'), event('requested'));
    assert.deepEqual((await uidsOf(store)).slice(-2), ['b', 'a']);
    assert.deepEqual(await historyOf(store, 'a'), [event('failed'), event('requested')], 'the history continues');
    const { owner } = testRecord('b');
    await expectCode('SCI_STREAM_EXISTS', store.create({ ...testRecord('b'), owner: `${owner}-2` }));
    assert.deepEqual(await store.get('b'), testRecord('b', 'released'), 'an ended uid stays that of its owner');
  },

  'keeps the events of each stream in order and removes them with it': async (store) => {
    await store.create(testRecord('a'), event('requested'));
    await store.create(testRecord('b'), event('requested', 'of b'));
    await store.update('a', 1, { state: 'waiting' }, event('reserved'));
    await store.note('a', event('recovered', 'once'));
    assert.deepEqual(await historyOf(store, 'a'), [event('requested'), event('reserved'), event('recovered', 'once')]);
    assert.deepEqual(await historyOf(store, 'b'), [event('requested', 'of b')]);
    await expectCode('SCI_STREAM_NOT_FOUND', store.note('unknown', event('hello')));
    await store.delete('a');
    assert.deepEqual(await store.events('a'), []);
  },

  'gives events ids that grow over all streams and processes': async (store, again) => {
    assert.equal(store.lastEventId, 0);
    await store.create(testRecord('a'), event('requested'));
    await Promise.all([
      store.create(testRecord('b'), event('requested', 'of b')),
      ...Array.from({ length: 20 }, (_, i) => store.note('a', event('targets', String(i)))),
    ]);
    const all = await store.eventsAfter(0);
    const ids = all.map((one) => one.event.id);
    assert.deepEqual([ids.length, ids.at(-1)], [22, store.lastEventId]);
    assert.deepEqual(
      [...new Set(ids)].toSorted((a, b) => a - b),
      ids,
    );
    const ofA = all.filter(({ uid }) => uid === 'a');
    assert.deepEqual(await store.eventsAfter(0, 'a'), ofA);
    assert.deepEqual(
      await store.events('a'),
      ofA.map((one) => one.event),
    );
    assert.deepEqual(await store.eventsAfter(ids[11] ?? 0), all.slice(12));
    assert.deepEqual(await store.eventsAfter(store.lastEventId), []);
    await store.close();
    if (!again) return;
    const next = await again();
    assert.deepEqual([next.lastEventId, await next.eventsAfter(0)], [ids.at(-1), all]);
    await next.note('b', event('recovered'));
    assert.ok(next.lastEventId > (ids.at(-1) ?? 0));
  },

  'reports each event once it is stored, in the order of ids': async (store) => {
    const seen: number[] = [];
    const visible: Promise<boolean>[] = [];
    const end = store.onEvent(() => {
      const { lastEventId } = store;
      seen.push(lastEventId);
      visible.push(store.eventsAfter(lastEventId - 1).then(([first]) => first?.event.id === lastEventId));
    });
    const uids = ['a', 'b', 'c'];
    await Promise.all(uids.map((uid) => store.create(testRecord(uid), event('requested'))));
    await store.update('a', 1, { state: 'waiting' });
    const noted = Array.from({ length: 30 }, (_, i) => store.note(uids[i % 3] ?? '', event('targets', String(i))));
    await Promise.all(noted);
    assert.deepEqual(
      seen,
      (await store.eventsAfter(0)).map((one) => one.event.id),
    );
    assert.ok((await Promise.all(visible)).every(Boolean));
    end();
    await store.note('a', event('hello'));
    assert.equal(seen.length, 33);
  },

  'keeps the last 200 events of a stream': async (store) => {
    await store.create(testRecord('a'), event('requested'));
    await Promise.all(Array.from({ length: 210 }, (_, i) => store.note('a', event('targets', String(i)))));
    const details = (await store.events('a')).map(({ detail }) => detail);
    assert.deepEqual([details.length, details[0], details.at(-1)], [200, '10', '209']);
  },

  'limits the details of an event, and the bytes of the events of a stream': async (store) => {
    await store.create(testRecord('a'), event('requested', 'x'.repeat(1_000_000)));
    const [first] = await store.events('a');
    assert.ok(
      first?.detail && first.detail.length < 2_100 && first.detail.includes('1000000'),
      first?.detail?.slice(-40),
    );
    for (let i = 0; i < 100; i += 1) await store.note('a', event('targets', `${i} ${'x'.repeat(1_990)}`));
    const events = await store.events('a');
    assert.ok(JSON.stringify(events).length < 66_000 && events.length > 20, `${events.length} events`);
    assert.ok(events.at(-1)?.detail?.startsWith('99 '), 'the newest are kept');
  },

  'keeps the last 1000 ended streams and every running one': async (store) => {
    await store.create(testRecord('alive'));
    for (let i = 0; i < 1_050; i += 1) {
      await store.create(testRecord(`s${i}`), event('requested'));
      await store.update(`s${i}`, 1, { state: i % 2 ? 'failed' : 'released' });
    }
    const uids = await uidsOf(store);
    assert.deepEqual([uids.length, uids[0], uids[1], uids.at(-1)], [1_001, 'alive', 's50', 's1049']);
    assert.deepEqual(await store.events('s49'), []);
  },

  'the next process finds all records': async (store, again) => {
    await store.create(testRecord('z'), event('requested'));
    await store.create(testRecord('a'), event('requested'));
    await store.update('z', 1, { state: 'waiting' }, event('reserved'));
    for (let i = 0; i < 12; i += 1) await store.note('z', event('targets', String(i)));
    await store.create(testRecord('gone'), event('requested'));
    await store.delete('gone');
    const seen = async (from: StreamStore): Promise<unknown> => [
      await from.list(),
      await from.events('z'),
      await from.events('gone'),
    ];
    const before = await seen(store);
    await store.close();
    if (!again) return;
    const next = await again();
    assert.deepEqual(await seen(next), before);
    assert.equal((await next.update('z', 2, { state: 'active' })).version, 3);
  },
};

/** Registers the tests that every {@link StreamStore} must pass. */
export function storeContract({ name, test, open }: StoreContract): void {
  for (const [title, run] of Object.entries(cases)) {
    test(`${name}: ${title}`, async () => {
      const { store, again } = await open();
      let last = store;
      try {
        await run(store, again && (async () => (last = await again())));
      } finally {
        await last.close();
      }
    });
  }
}
