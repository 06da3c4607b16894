import assert from 'node:assert/strict';
import { LABELS } from '../contracts/container-runtime.js';
import { exchange, named, read } from './network.js';
import type { ProxyCases } from './proxy-environment.js';
import { eventually } from './support.js';

/** What a data server does with streams that run already when it comes. */
export const adoptionCases: ProxyCases = {
  'takes charge of what an earlier one has started, without a break': async (env) => {
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

    env.succeed();
    assert.equal(await env.s2ds.adopt(request, [target]), true);
    assert.equal(await env.s2ds.adopt(request, [target]), true, 'adopting twice is fine');
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

  'starts a program again that is killed after it was adopted': async (env) => {
    const target = await env.server(named('a'));
    const { uid, address, request } = await env.startTo(target);
    env.succeed();
    assert.equal(await env.s2ds.adopt(request, [target]), true);
    await env.kill(uid);
    await eventually(async () => assert.equal((await env.s2ds.status(uid)).restarts, 1), 20_000);
    assert.equal(await exchange(address, '1'), 'a1');
  },

  'adopts nothing that does not run, and leaves nothing of it': async (env) => {
    const target = await env.server(named('a'));
    const { uid, request } = await env.startTo(target);
    env.succeed();
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

  'adopts nothing that listens elsewhere, and leaves nothing of it': async (env) => {
    const target = await env.server(named('a'));
    const { request } = await env.startTo(target);
    const elsewhere = await env.reserve();
    env.succeed();
    assert.equal(await env.s2ds.adopt({ ...request, listeners: elsewhere.listeners }, [target]), false);
    await env.expectNothingLeft();
  },
};
