import assert from 'node:assert/strict';
import { LABELS } from '../contracts/container-runtime.js';
import { exchange, named, read } from './network.js';
import type { ProxyCases } from './proxy-environment.js';
import { eventually } from './support.js';

/** Adoption of streams that a previous data server started. */
export const adoptionCases: ProxyCases = {
  'adopts a running stream without interrupting it': async (env) => {
    const target = await env.server(named('a'));
    const { uid, address, request } = await env.startTo(target);
    const open = await env.dial(address);
    assert.equal(await read(open, 1), 'a');
    const counted = async (): Promise<unknown> => {
      const { listeners } = await env.s2ds.status(uid);
      return listeners.map(({ connections, open }) => ({ connections, open }));
    };
    const expected = env.s2ds.supports.statistics ? [{ connections: 1, open: 1 }] : [];
    await eventually(async () => assert.deepEqual(await counted(), expected));

    env.restart();
    assert.equal(await env.s2ds.adopt(request, [target]), true);
    assert.equal(await env.s2ds.adopt(request, [target]), true, 'adopting is idempotent');
    open.write('still here');
    assert.equal(await read(open, 10), 'still here');
    await eventually(async () => assert.deepEqual(await counted(), expected));
    assert.equal(await exchange(address, '1'), 'a1');
    await env.s2ds.updateTargets(uid, [await env.server(named('b'))]);
    assert.equal(await exchange(address, '2'), 'b2');
    if (env.s2ds.supports.liveRetarget) {
      open.write('same one');
      assert.equal(await read(open, 8), 'same one');
    }
    await env.s2ds.release(uid);
    await env.expectNothingLeft();
  },

  'restarts a program that is killed after its adoption': async (env) => {
    const target = await env.server(named('a'));
    const { uid, address, request } = await env.startTo(target);
    env.restart();
    assert.equal(await env.s2ds.adopt(request, [target]), true);
    await env.kill(uid);
    await eventually(async () => assert.equal((await env.s2ds.status(uid)).restarts, 1), 20_000);
    assert.equal(await exchange(address, '1'), 'a1');
  },

  'does not adopt a stream whose program has exited, and removes it': async (env) => {
    const target = await env.server(named('a'));
    const { uid, request } = await env.startTo(target);
    env.restart();
    await env.kill(uid);
    await eventually(async () => {
      const states = await env.runtime.list({ [LABELS.uid]: uid });
      assert.deepEqual(
        states.map(({ status }) => status),
        ['exited'],
      );
    });
    assert.equal(await env.s2ds.adopt(request, [target]), false);
    await env.expectNothingLeft();

    const never = await env.reserve();
    assert.equal(await env.s2ds.adopt(never, [target]), false);
    await env.expectNothingLeft();
  },

  'does not adopt a stream with other listeners, and removes it': async (env) => {
    const target = await env.server(named('a'));
    const { request } = await env.startTo(target);
    const elsewhere = await env.reserve();
    env.restart();
    assert.equal(await env.s2ds.adopt({ ...request, listeners: elsewhere.listeners }, [target]), false);
    await env.expectNothingLeft();
  },
};
