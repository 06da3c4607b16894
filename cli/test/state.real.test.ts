// suite: full
/** What an operator can find out of the state of a daemon that does not run. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LevelStreamStore } from '@scistream/core/internal';
import { testRecord } from '@scistream/core/testing';
import { Home } from './support/cli.js';

const s = suite<{ home: Home; config: string }>('state commands');

s.before.each(async (context) => {
  context.home = await Home.create();
  context.config = join(context.home.path, 's2cs.conf');
  await writeFile(context.config, 'facility: aps\nstate: stored\ngateways: [{ name: dtn1 }]\n');
});
s.after.each(({ home }) => home.remove());

s('tell what is stored, refuse what a daemon has open, and say so when there is nothing', async ({ home, config }) => {
  assert.is((await home.failure('state', 'check', '--config', config)).code, 'SCI_CONFIG_INVALID');
  const store = new LevelStreamStore(join(home.path, 'stored'));
  await store.open();
  await store.create(testRecord('alive-uid'), { at: '2026-01-01T00:00:00.000Z', what: 'requested' });
  await store.create(testRecord('ended-uid', 'released'));
  assert.is((await home.failure('state', 'check', '--config', config)).code, 'SCI_STATE_LOCKED');
  await store.close();
  const counted = (await home.json('state', 'check', '--config', config)) as object;
  assert.equal(counted, { state: join(home.path, 'stored'), streams: 2, live: 1, gateway: 0 });
  const exported = (await home.json('state', 'export', '--config', config)) as { streams: object[] };
  assert.equal(exported.streams[0], {
    ...testRecord('alive-uid'),
    events: [{ at: '2026-01-01T00:00:00.000Z', what: 'requested' }],
  });
  await writeFile(join(home.path, 'stored', 'db', 'CURRENT'), 'rubbish\n');
  assert.is((await home.failure('state', 'check', '--config', config)).code, 'SCI_STATE_DAMAGED');
});

s.run();
