/** Updates that fail, at the gateway or in the store: the stream stays as it was, or is settled later. No network. */
import { randomUUID } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress, SciStreamError, type ErrorCode } from '@scistream/core';
import type { StreamSpec } from '@scistream/core/internal';
import { eventually, exchange, named, tcpServer, testSpec } from '@scistream/core/testing';
import { ALICE, fixture, present, refusal } from '../support/controller.js';

const s = suite('stream update');

const SPEC: StreamSpec = { ...testSpec, lifetimeMs: 0 };

s('an update that cannot be written down is taken back at the gateway, too', async () => {
  await using made = await fixture();
  const { controller, store } = made;
  await using one = await tcpServer(named('a'));
  await using two = await tcpServer(named('b'));
  const uid = randomUUID();
  const req = controller.request(uid, SPEC, undefined, ALICE, present());
  await controller.hello(uid, [], ALICE);
  const [entry] = (await req).listeners;
  if (!entry) return assert.unreachable('no listener');
  await controller.update(uid, [formatAddress(one.address)], ALICE);
  store.beforeUpdate = async ({ state }) => {
    if (state !== 'active') return;
    store.beforeUpdate = () => Promise.resolve();
    throw new SciStreamError('SCI_STATE_WRITE', 'The disk is full.');
  };
  await refusal(controller.update(uid, [formatAddress(two.address)], ALICE), 'SCI_STATE_WRITE');
  await eventually(async () => assert.is((await controller.views.get(uid, ALICE)).record.state, 'active'), 30_000);
  assert.equal((await controller.views.get(uid, ALICE)).record.targets, [one.address]);
  assert.is(await exchange(entry, 'x'), 'ax');
});

s('an update that the gateway rejects changes nothing, also after one with an unknown result', async () => {
  await using made = await fixture();
  const { controller, gateway } = made;
  const uid = randomUUID();
  const fails = (code: ErrorCode) => (): Promise<void> => Promise.reject(new SciStreamError(code, 'On purpose.'));
  const update = (port: number) => controller.update(uid, [`127.0.0.1:${port}`], ALICE);
  const stateAndAsked = async () => {
    const { state, asked } = (await controller.views.get(uid, ALICE)).record;
    return [state, asked?.map(({ port }) => port)];
  };
  const req = controller.request(uid, SPEC, undefined, ALICE, present());
  await eventually(async () => assert.is((await controller.views.get(uid, ALICE)).record.state, 'waiting'));
  await refusal(update(1), 'SCI_STREAM_STATE');
  await controller.hello(uid, [], ALICE);
  await req;
  gateway.beforeTargets = fails('SCI_PROXY_COMMAND_FAILED');
  await refusal(update(2), 'SCI_PROXY_COMMAND_FAILED');
  assert.equal(await stateAndAsked(), ['provisioned', []]);
  // Unknown at first, then rejected: the unknown one is still settled.
  gateway.beforeTargets = fails('SCI_S2DS_UNREACHABLE');
  await refusal(update(3), 'SCI_S2DS_UNREACHABLE');
  gateway.beforeTargets = fails('SCI_PROXY_COMMAND_FAILED');
  await refusal(update(4), 'SCI_PROXY_COMMAND_FAILED');
  assert.equal(await stateAndAsked(), ['updating', [3]]);
  gateway.beforeTargets = () => Promise.resolve();
  await eventually(async () => assert.is((await controller.views.get(uid, ALICE)).record.state, 'active'), 30_000);
  assert.equal((await controller.views.get(uid, ALICE)).record.targets, [{ host: '127.0.0.1', port: 3 }]);
  await controller.release(uid, ALICE);
  await refusal(update(5), 'SCI_STREAM_STATE');
});

s.run();
