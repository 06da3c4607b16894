// suite: full
/** Commands that read the stored state of a stopped daemon. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { GatewayStore, LevelStreamStore, type GatewayStream } from '@scistream/core/internal';
import { testRecord, testSpec } from '@scistream/core/testing';
import { Home } from './support/cli.js';

const s = suite<{ home: Home; config: string }>('state commands');

s.before.each(async (context) => {
  context.home = await Home.create();
  context.config = join(context.home.path, 's2cs.conf');
  await writeFile(context.config, 'facility: aps\nstate: stored\ngateways: [{ name: dtn1 }]\n');
});
s.after.each(({ home }) => home.remove());

s('read the stored state; fail on a state in use and on an empty directory', async ({ home, config }) => {
  assert.is((await home.failure('state', 'check', '--config', config)).code, 'SCI_CONFIG_INVALID');
  const store = new LevelStreamStore(join(home.path, 'stored'));
  await store.open();
  await store.create(testRecord('alive-uid'), { at: '2026-01-01T00:00:00.000Z', what: 'requested' });
  await store.create(testRecord('ended-uid', 'released'));
  assert.is((await home.failure('state', 'check', '--config', config)).code, 'SCI_STATE_LOCKED');
  await store.close();
  const counted = (await home.json('state', 'check', '--config', config)) as object;
  assert.equal(counted, { state: join(home.path, 'stored'), streams: 2, live: 1, gateway: 0 });
  const { streams } = (await home.json('state', 'export', '--config', config)) as {
    streams: { events: { id?: number }[] }[];
  };
  const id = streams[0]?.events[0]?.id ?? 0;
  assert.ok(id > 0);
  assert.equal(streams[0], {
    ...testRecord('alive-uid'),
    events: [{ at: '2026-01-01T00:00:00.000Z', what: 'requested', id }],
  });
  await writeFile(join(home.path, 'stored', 'db', 'CURRENT'), 'rubbish\n');
  assert.is((await home.failure('state', 'check', '--config', config)).code, 'SCI_STATE_DAMAGED');
});

s('forget a stream that cannot be released, and no other', async ({ home, config }) => {
  const state = join(home.path, 'stored');
  const store = await GatewayStore.open(join(state, 'gateway'));
  const record: GatewayStream = {
    spec: { ...testSpec, connections: 1 },
    proxy: 'gone',
    runtime: 'process',
    listeners: [{ host: '127.0.0.1', port: 5100 }],
    targets: [],
    state: 'running',
  };
  await store.put('running-1', record);
  await store.put('stuck-one', { ...record, state: 'releasing' });
  const forget = async (uid: string): Promise<string> =>
    (await home.failure('state', 'forget', uid, '--config', config)).code;
  assert.is(await forget('stuck-one'), 'SCI_STATE_LOCKED');
  await store.close();
  assert.is(await forget('running-1'), 'SCI_STREAM_STATE');
  assert.is(await forget('no-such-one'), 'SCI_STREAM_NOT_FOUND');
  assert.equal(await home.json('state', 'forget', 'stuck-one', '--config', config), { state, uid: 'stuck-one' });
  const left = (await home.json('state', 'export', '--config', config)) as { gateway: { uid: string }[] };
  assert.equal(
    left.gateway.map(({ uid }) => uid),
    ['running-1'],
  );
});

s.run();
