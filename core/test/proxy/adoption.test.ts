/** Adoption of streams that a previous process started, by the base class of all proxies. In memory. */
import type { S2DSRequest } from '@scistream/core';
import { eventually, expectCode } from '@scistream/core/testing';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { A, B, Fixture, ThreeInstances, TwoInstances, Reloading, Retargetable } from '../support/tiny-proxy.js';

const s = suite('adoption of proxies');

s('adopts a running stream without a change, then updates its targets', async () => {
  const it = new Fixture(Retargetable);
  await it.start();
  const later = it.runtime.another();
  const heir = it.on(later);
  assert.is(await heir.adopt(it.request, [A]), true);
  assert.equal(later.calls, []);
  // Also the targets of the record: the program may have others.
  await heir.updateTargets(it.request.uid, [A]);
  await heir.updateTargets(it.request.uid, [B]);
  assert.equal(heir.targetsSeen, [[A], [B]]);
  assert.equal(await it.log(), ['serves nowhere']);
});

/** The request with one listener per port. */
function withListeners({ listeners, ...request }: S2DSRequest, ports: readonly number[]): S2DSRequest {
  const more = ports.flatMap((port) =>
    listeners.map((listener) => ({ ...listener, address: { host: '127.0.0.1', port } })),
  );
  return { ...request, listeners: more };
}

s('adopts all running instances when the configured number has changed', async () => {
  const it = new Fixture(TwoInstances);
  const request = withListeners(it.request, [1, 2, 3, 4, 5]);
  await it.proxy.start(request);
  await it.abandon();
  const later = it.runtime.another();
  const heir = it.on(later, ThreeInstances);
  assert.is(await heir.adopt(request, []), true);
  assert.equal(later.calls, []);
  await heir.updateTargets(request.uid, [A, B]);
  assert.equal(heir.targetsSeen, [
    [A, A, A],
    [B, B],
  ]);
  await heir.release(request.uid);
  assert.equal(await it.runtime.list({}), []);
});

for (const how of ['has ended', 'does not exist'])
  for (const lost of [0, 1, 2])
    s(`restarts instance ${lost} of three that ${how}, and does not touch the others`, async () => {
      const it = new Fixture(ThreeInstances);
      const request = withListeners(it.request, [1, 2, 3, 4, 5]);
      await it.proxy.start(request);
      const name = (await it.runtime.list({})).map((one) => one.name).find((one) => one.endsWith(`-${lost}`)) ?? '';
      await it.abandon();
      it.runtime.kill({ name });
      if (how === 'does not exist') await it.runtime.remove({ name });

      const later = it.runtime.another();
      // The configuration has changed to two instances.
      const heir = it.on(later, TwoInstances);
      assert.is(await heir.adopt(request, [B]), true);
      await eventually(async () => {
        const { state, restarts } = await heir.status(request.uid);
        assert.equal([state, restarts], ['running', 1]);
      });
      assert.equal(
        later.calls.filter((call) => !call.includes(name)),
        [],
      );
      assert.is((await it.runtime.list({})).length, 3);
      assert.match(await it.runtime.logs({ name }, 1), /serves 192\.0\.2\.2:2/);
      await heir.release(request.uid);
      assert.equal(await it.runtime.list({}), []);
    });

s('adopts matching instances and replaces an instance with other listeners', async () => {
  const it = new Fixture(TwoInstances);
  const request = withListeners(it.request, [1, 2, 3]);
  await it.proxy.start(request);
  await it.abandon();
  const later = it.runtime.another();
  const heir = it.on(later, TwoInstances);
  // Instance 0 had ports 1 and 3, and instance 1 had port 2.
  assert.is(await heir.adopt(withListeners(it.request, [1, 2, 4]), []), true);
  await eventually(async () => assert.is((await heir.status(request.uid)).restarts, 1));
  assert.ok(later.calls.length > 0);
  for (const call of later.calls) assert.match(call, /^close$|-0\b/);
});

s('removes instances that have ended or have other listeners', async () => {
  const it = new Fixture(Reloading);
  await it.proxy.start(it.request);
  await it.abandon();
  const elsewhere = it.request.listeners.map((listener) => ({
    ...listener,
    address: { host: '127.0.0.1', port: 6000 },
  }));
  const heir = it.on(it.runtime.another());
  assert.is(await heir.adopt({ ...it.request, listeners: elsewhere }, [A]), false);
  assert.equal(await it.runtime.list({}), []);
  assert.is(await heir.adopt(it.request, [A]), false);
  await expectCode('SCI_STREAM_NOT_FOUND', heir.status(it.request.uid));
});

s.run();
