/** What the base class of all proxies takes charge of that an earlier process has started. In memory. */
import type { S2DSRequest } from '@scistream/core';
import { eventually, expectCode } from '@scistream/core/testing';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { A, B, Fixture, InThree, InTwo, Rereading, Told } from './support/tiny-proxy.js';

const s = suite('adoption of proxies');

s('adopts what runs as asked, touches nothing of it, and carries on', async () => {
  const it = new Fixture(Told);
  await it.start();
  const later = it.runtime.another();
  const heir = it.on(later);
  assert.is(await heir.adopt(it.request, [A]), true);
  assert.equal(later.calls, []);
  await heir.updateTargets(it.request.uid, [B]);
  assert.equal(heir.told, [[B]]);
  assert.equal(await it.log(), ['serves nowhere']);
});

/** For several instances to share. */
function withListeners({ listeners, ...request }: S2DSRequest, ports: readonly number[]): S2DSRequest {
  const more = ports.flatMap((port) =>
    listeners.map((listener) => ({ ...listener, address: { host: '127.0.0.1', port } })),
  );
  return { ...request, listeners: more };
}

s('adopts as many instances as there are, whatever the configuration says by now', async () => {
  const it = new Fixture(InTwo);
  const request = withListeners(it.request, [1, 2, 3, 4, 5]);
  await it.proxy.start(request);
  const later = it.runtime.another();
  const heir = it.on(later, InThree);
  assert.is(await heir.adopt(request, []), true);
  assert.equal(later.calls, []);
  await heir.updateTargets(request.uid, [A, B]);
  assert.equal(heir.told, [
    [A, A, A],
    [B, B],
  ]);
  await heir.release(request.uid);
  assert.equal(await it.runtime.list({}), []);
});

for (const how of ['has ended', 'is gone'])
  for (const lost of [0, 1, 2])
    s(`starts again what ${how} of a stream, number ${lost} of three, and touches nothing of what runs`, async () => {
      const it = new Fixture(InThree);
      const request = withListeners(it.request, [1, 2, 3, 4, 5]);
      await it.proxy.start(request);
      const name = (await it.runtime.list({})).map((one) => one.name).find((one) => one.endsWith(`-${lost}`)) ?? '';
      await it.abandon();
      it.runtime.kill({ name });
      if (how === 'is gone') await it.runtime.remove({ name });

      const later = it.runtime.another();
      // With a configuration that says two by now.
      const heir = it.on(later, InTwo);
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

s('adopts what runs beside an instance that was started otherwise, which is made anew', async () => {
  const it = new Fixture(InTwo);
  const request = withListeners(it.request, [1, 2, 3]);
  await it.proxy.start(request);
  await it.abandon();
  const later = it.runtime.another();
  const heir = it.on(later, InTwo);
  // Instance 0 had 1 and 3, and instance 1 had 2.
  assert.is(await heir.adopt(withListeners(it.request, [1, 2, 4]), []), true);
  await eventually(async () => assert.is((await heir.status(request.uid)).restarts, 1));
  assert.ok(later.calls.length > 0);
  for (const call of later.calls) assert.match(call, /^letGo$|-0\b/);
});

s('adopts nothing that has ended or listens elsewhere, and removes it', async () => {
  const it = new Fixture(Rereading);
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
