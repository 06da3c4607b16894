import assert from 'node:assert/strict';
import { once } from 'node:events';
import { dial, exchange, named, read } from './network.js';
import { type ProxyCases, expectCode, listener } from './proxy-environment.js';

/** Start and release of streams, alone and concurrently. */
export const lifecycleCases: ProxyCases = {
  'rejects a second start of a uid': async (env) => {
    const request = await env.start();
    await expectCode('SCI_STREAM_EXISTS', env.s2ds.start(request));
    await env.s2ds.updateTargets(request.uid, [await env.server(named('a'))]);
    assert.equal(await exchange(listener(request), '1'), 'a1');
  },

  'reports a stream that was never started as not found': async (env) => {
    const target = { host: '127.0.0.1', port: 9 };
    await expectCode('SCI_STREAM_NOT_FOUND', env.s2ds.updateTargets('unknown-uid', [target]));
    await expectCode('SCI_STREAM_NOT_FOUND', env.s2ds.status('unknown-uid'));
    await expectCode('SCI_STREAM_NOT_FOUND', env.s2ds.ended('unknown-uid'));
    await env.s2ds.release('unknown-uid');
  },

  'release closes everything, is idempotent and frees the uid': async (env) => {
    const target = await env.server(named('a'));
    const { uid, address } = await env.startTo(target);
    const open = await env.dial(address);
    assert.equal(await read(open, 1), 'a');
    const closed = once(open, 'close');
    open.once('end', () => open.destroy());
    open.resume();
    const ended = env.s2ds.ended(uid);
    await env.s2ds.release(uid);
    await env.s2ds.release(uid);
    await closed;
    assert.equal(await ended, undefined);
    await assert.rejects(dial(address), { code: 'ECONNREFUSED' });
    await env.expectNothingLeft();
    const again = await env.startTo(target, { uid });
    assert.equal(await exchange(again.address, '1'), 'a1');
  },

  'carries two independent streams': async (env) => {
    const [a, b] = await Promise.all([env.server(named('a')), env.server(named('b'))]);
    const [first, second] = await Promise.all([env.start(), env.start()]);
    await Promise.all([env.s2ds.updateTargets(first.uid, [a]), env.s2ds.updateTargets(second.uid, [b])]);
    assert.equal(await exchange(listener(first), '1'), 'a1');
    assert.equal(await exchange(listener(second), '1'), 'b1');
    const open = await env.dial(listener(second));
    assert.equal(await read(open, 1), 'b');
    const [third] = await Promise.all([env.start(), env.s2ds.release(first.uid)]);
    await env.s2ds.updateTargets(third.uid, [a]);
    open.write('2');
    assert.equal(await read(open, 1), '2');
    assert.equal(await exchange(listener(second), '3'), 'b3');
    assert.equal(await exchange(listener(third), '3'), 'a3');
    await assert.rejects(dial(listener(first)), { code: 'ECONNREFUSED' });
  },

  'a stream is released when updates and a release overlap': async (env) => {
    const target = await env.server(named('a'));
    const { uid } = await env.startTo(target);
    const update = (): Promise<void> => env.s2ds.updateTargets(uid, [target]);
    const results = await Promise.allSettled([update(), env.s2ds.release(uid), update(), update()]);
    assert.equal(results[1].status, 'fulfilled');
    for (const result of results) {
      if (result.status === 'rejected')
        await expectCode('SCI_STREAM_NOT_FOUND', Promise.reject(result.reason as Error));
    }
    await expectCode('SCI_STREAM_NOT_FOUND', env.s2ds.status(uid));
    await env.expectNothingLeft();
  },
};
