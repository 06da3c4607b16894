/** What a control server reports of a stream whose gateway cannot release it. */
import { randomUUID } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { testSpec, temporaryDirectory, eventually } from '@scistream/core/testing';
import { ALICE, fixture, present, refusal } from '../support/controller.js';
import { oddPlugin, quietProxy } from '../support/plugin-package.js';

const s = suite('unreleased streams');

s('the stream is releasing with the reason, its gateway says so, and it ends when that is possible', async () => {
  await using directory = await temporaryDirectory();
  let works = false;
  const release = (): Promise<void> => (works ? Promise.resolve() : Promise.reject(new Error('The rules are locked')));
  const plugins = await oddPlugin(directory.path, () => quietProxy({ release }));
  await using made = await fixture(plugins);
  const { controller, pool } = made;
  const uid = randomUUID();
  const req = controller.request(uid, { ...testSpec, lifetimeMs: 0, proxy: 'odd' }, undefined, ALICE, present());
  await controller.hello(uid, [], ALICE);
  await req;

  await refusal(controller.release(uid, ALICE), 'SCI_PLUGIN_FAILED');
  const { record, error } = await controller.views.get(uid, ALICE);
  assert.equal([record.state, error?.code], ['releasing', 'SCI_PLUGIN_FAILED']);
  const [told] = await pool.overview();
  const { unreleased, portsInUse } = told?.description ?? {};
  assert.equal([unreleased?.streams, unreleased?.reason.code, portsInUse], [1, 'SCI_PLUGIN_FAILED', 1]);
  await refusal(controller.request(uid, testSpec, undefined, ALICE, present()), 'SCI_STREAM_EXISTS');

  works = true;
  await eventually(async () => {
    await controller.release(uid, ALICE);
    assert.is((await controller.views.get(uid, ALICE)).record.state, 'released');
  });
  assert.is((await pool.overview())[0]?.description.unreleased, undefined);
});

s.run();
