/** The state machine of a stream behind `StreamController`, with a real gateway and no network. */
import { randomUUID } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SciStreamError, type Identity } from '@scistream/core';
import type { StreamSpec } from '@scistream/core/internal';
import { eventually, testSpec } from '@scistream/core/testing';
import { ALICE, fixture, present, refusal } from '../support/controller.js';

const machine = suite('stream machine');

const failure = (promise: Promise<unknown>): Promise<string> => promise.then(() => 'none', String);

const SPEC: StreamSpec = { ...testSpec, lifetimeMs: 0 };

machine('goes through its states, one stored version for each', async () => {
  await using made = await fixture();
  const { controller } = made;
  const uid = randomUUID();
  const seen: string[] = [];
  const look = async (): Promise<void> => {
    for (;;) {
      const next = controller.views.changed(uid, ALICE, present());
      const { record } = await controller.views.get(uid, ALICE);
      if (seen.at(-1) !== `${record.version} ${record.state}`) seen.push(`${record.version} ${record.state}`);
      if (record.state === 'released') return;
      await next;
    }
  };
  const req = controller.request(uid, SPEC, undefined, ALICE, present());
  await eventually(async () => assert.is((await controller.views.get(uid, ALICE)).record.state, 'waiting'));
  const looking = look();
  await controller.hello(uid, ['10.0.0.1:5001'], ALICE);
  assert.equal((await req).announced, [{ host: '10.0.0.1', port: 5001 }]);
  const { version, state, targets } = await controller.update(uid, ['127.0.0.1:9'], ALICE);
  assert.equal([version, state, targets], [5, 'active', [{ host: '127.0.0.1', port: 9 }]]);
  await controller.release(uid, ALICE);
  await looking;
  assert.equal([seen[0], seen.at(-1)], ['2 waiting', '7 released']);
  const versions = seen.map((each) => Number(each.split(' ')[0]));
  assert.equal(
    versions,
    [...versions].sort((a, b) => a - b),
    'in order',
  );
});

machine('counts what lives and what waits', async () => {
  await using made = await fixture();
  const { controller } = made;
  const [a, b] = [randomUUID(), randomUUID()];
  const requests = [a, b].map((uid) => controller.request(uid, SPEC, undefined, ALICE, present()).catch(String));
  await eventually(() => assert.equal(controller.counts(), { streams: 2, waiting: 2 }));
  await controller.hello(a, [], ALICE);
  assert.equal(controller.counts(), { streams: 2, waiting: 1 });
  await controller.release(b, ALICE);
  assert.equal(controller.counts(), { streams: 1, waiting: 0 });
  await Promise.all(requests);
});

machine('two requests with one uid at the same moment: one is refused', async () => {
  await using made = await fixture();
  const uid = randomUUID();
  const results = [1, 2].map(() => made.controller.request(uid, SPEC, undefined, ALICE, present()));
  const [, second] = results;
  await refusal(second ?? Promise.resolve(), 'SCI_STREAM_EXISTS');
  const greeted = made.controller.hello(uid, [], ALICE);
  assert.is((await results[0])?.uid, uid);
  await greeted;
});

machine('a stream that is not written yet is known to its owner, and to nobody else', async () => {
  await using made = await fixture();
  const { controller, store } = made;
  const uid = randomUUID();
  let write: () => void = () => undefined;
  store.beforeCreate = () => new Promise((resolve) => (write = resolve));
  const req = refusal(controller.request(uid, SPEC, undefined, ALICE, present()), 'SCI_STREAM_RELEASED');
  await eventually(() => assert.is(controller.counts().waiting, 1));
  assert.is((await controller.views.get(uid, ALICE)).record.state, 'reserving');
  await refusal(controller.release(uid, { ...ALICE, subject: 'bob' }), 'SCI_STREAM_NOT_FOUND');
  const release = controller.release(uid, ALICE);
  write();
  assert.is((await release).state, 'released');
  await req;
  assert.equal([controller.counts().streams, (await made.gateway.describe()).portsInUse], [0, 0]);
});

machine('a stream that cannot be written is refused, and leaves nothing behind', async () => {
  await using made = await fixture();
  const { controller, store } = made;
  const uid = randomUUID();
  store.beforeCreate = () => Promise.reject(new SciStreamError('SCI_STATE_WRITE', 'The disk is full.'));
  await refusal(controller.request(uid, SPEC, undefined, ALICE, present()), 'SCI_STATE_WRITE');
  assert.equal(controller.counts(), { streams: 0, waiting: 0 });
  assert.is((await made.gateway.describe()).portsInUse, 0);
  store.beforeCreate = () => Promise.resolve();
  const req = controller.request(uid, SPEC, undefined, ALICE, present());
  await controller.hello(uid, [], ALICE);
  assert.is((await req).state, 'provisioned');
});

machine('a failed release is retried, and the first reason is kept', async () => {
  await using made = await fixture();
  const { controller, gateway } = made;
  const uid = randomUUID();
  gateway.beforeRelease = () => Promise.reject(new SciStreamError('SCI_RUNTIME_UNREACHABLE', 'It is away.'));
  await refusal(controller.request(uid, SPEC, undefined, ALICE, AbortSignal.abort()), 'SCI_CLIENT_GONE');
  assert.is((await controller.views.get(uid, ALICE)).record.state, 'releasing');
  await refusal(controller.release(uid, ALICE), 'SCI_RUNTIME_UNREACHABLE');
  gateway.beforeRelease = () => Promise.resolve();
  await eventually(() => assert.is(controller.counts().streams, 0), 60_000);
  const { record } = await controller.views.get(uid, ALICE);
  assert.equal([record.state, record.error?.code], ['failed', 'SCI_CLIENT_GONE']);
  assert.is((await gateway.describe()).portsInUse, 0);
});

machine('what was allowed for a stream is not done to the next one of that uid', async () => {
  await using made = await fixture();
  const { controller, policy } = made;
  const uid = randomUUID();
  const up = async (who: Identity): Promise<void> => {
    const req = controller.request(uid, SPEC, undefined, who, present());
    await controller.hello(uid, [], who);
    await req;
  };
  const mallory = { ...ALICE, subject: 'mallory' };
  for (const [kind, act] of [
    ['update', () => controller.update(uid, ['127.0.0.1:9'], mallory)],
    ['probe', () => controller.prober(uid, mallory, { host: '127.0.0.1', port: 9 })],
    ['release', () => controller.release(uid, mallory)],
  ] as const) {
    await up(mallory);
    policy.afterCheck = async (action) => {
      if (action.kind !== kind) return;
      policy.afterCheck = () => Promise.resolve();
      await controller.release(uid, mallory);
      await up(ALICE);
    };
    await act().catch((error: unknown) => assert.ok(SciStreamError.is(error), String(error)));
    const { record } = await controller.views.get(uid, ALICE);
    assert.equal([kind, record.owner, record.state, record.targets], [kind, 'test:alice', 'provisioned', []]);
    await controller.release(uid, ALICE);
  }
});

machine('a client that is gone already does not keep its stream', async () => {
  await using made = await fixture();
  const uid = randomUUID();
  await refusal(made.controller.request(uid, SPEC, undefined, ALICE, AbortSignal.abort()), 'SCI_CLIENT_GONE');
  assert.equal(made.controller.counts(), { streams: 0, waiting: 0 });
  const { record } = await made.controller.views.get(uid, ALICE);
  assert.equal([record.state, record.error?.code], ['failed', 'SCI_CLIENT_GONE']);
});

machine('RELEASE between the start of the proxy and the answer to HELLO refuses both, and nothing stays', async () => {
  await using made = await fixture();
  const { controller, gateway } = made;
  const uid = randomUUID();
  let release: Promise<unknown> = Promise.resolve();
  gateway.afterStart = async (signal) => {
    release = controller.release(uid, ALICE);
    // It waits behind HELLO, and has aborted it as soon as its own checks are done.
    await eventually(() => assert.ok(signal.aborted));
  };
  const req = refusal(controller.request(uid, SPEC, undefined, ALICE, present()), 'SCI_STREAM_RELEASED');
  await refusal(controller.hello(uid, [], ALICE), 'SCI_STREAM_RELEASED');
  await Promise.all([req, release]);
  assert.equal([controller.counts().streams, (await gateway.describe()).portsInUse], [0, 0]);
});

machine('close refuses what is new and ends what waits, more than once', async () => {
  await using made = await fixture();
  const { controller } = made;
  const uid = randomUUID();
  const req = refusal(controller.request(uid, SPEC, undefined, ALICE, present()), 'SCI_SHUTTING_DOWN');
  await eventually(async () => assert.is((await controller.views.get(uid, ALICE)).record.state, 'waiting'));
  await controller.close(true);
  await controller.close(true);
  await req;
  await refusal(controller.request(randomUUID(), SPEC, undefined, ALICE, present()), 'SCI_SHUTTING_DOWN');
  assert.is((await controller.views.get(uid, ALICE)).record.error?.code, 'SCI_SHUTTING_DOWN');
});

machine('who waits for a change can stop waiting', async () => {
  await using made = await fixture();
  const uid = randomUUID();
  const req = made.controller.request(uid, SPEC, undefined, ALICE, present()).catch(String);
  await eventually(async () => assert.is((await made.controller.views.get(uid, ALICE)).record.state, 'waiting'));
  const stop = new AbortController();
  const change = made.controller.views.changed(uid, ALICE, stop.signal);
  stop.abort(new Error('enough'));
  assert.is(await failure(change), 'Error: enough');
  assert.is(
    await failure(made.controller.views.changed(uid, ALICE, AbortSignal.abort(new Error('before')))),
    'Error: before',
  );
  await made.controller.views.changed(randomUUID(), ALICE, present());
  await made.controller.release(uid, ALICE);
  await req;
});

machine.run();
