import assert from 'node:assert/strict';
import { S2DSException } from '../contracts/errors.js';
import { exchange, named, read, receiveAll } from './network.js';
import { type ProxyCases, expectCode, type ProxyEnvironment } from './proxy-environment.js';
import { eventually } from './support.js';

/** A program that ends more often than this per minute is not restarted. */
const DEATHS_FORGIVEN = 5;
const RESTART_LIMIT_MS = 20_000;

/** Waits until the program of a stream has been restarted this many times and serves. */
async function expectRestarted(env: ProxyEnvironment, uid: string, restarts: number): Promise<void> {
  await eventually(async () => {
    const status = await env.s2ds.status(uid);
    assert.equal(status.error, undefined);
    assert.deepEqual([status.state, status.restarts], ['running', restarts]);
  }, RESTART_LIMIT_MS);
}

/** Recovery from failures of programs. */
export const failureCases: ProxyCases = {
  'restarts a killed program with its addresses and targets': async (env) => {
    const target = await env.server(named('a'));
    const { uid, address } = await env.startTo(target);
    const other = await env.startTo(target);
    const before = await env.listening(uid);
    await env.kill(uid);
    await expectRestarted(env, uid, 1);
    assert.equal(await exchange(address, '1'), 'a1');
    assert.deepEqual(await env.listening(uid), before);
    await env.s2ds.updateTargets(uid, [await env.server(named('b'))]);
    assert.equal(await exchange(address, '2'), 'b2');
    assert.equal(await exchange(other.address, '3'), 'a3');
    assert.equal((await env.s2ds.status(other.uid)).restarts, 0);
  },

  'fails a stream whose program keeps ending': async (env) => {
    const target = await env.server(named('a'));
    const { uid, address, request } = await env.startTo(target);
    const other = await env.startTo(target);
    const ended = env.s2ds.ended(uid);
    for (let restarts = 1; restarts <= DEATHS_FORGIVEN; restarts += 1) {
      await env.kill(uid);
      await expectRestarted(env, uid, restarts);
    }
    await env.kill(uid);
    const error = await ended;
    assert.ok(error instanceof S2DSException);
    assert.equal(error.code, 'SCI_PROXY_DIED');
    const status = await env.s2ds.status(uid);
    assert.deepEqual([status.state, status.restarts, status.error], ['failed', DEATHS_FORGIVEN, error]);
    await expectCode('SCI_PROXY_DIED', env.s2ds.updateTargets(uid, [target]));
    await assert.rejects(exchange(address, '1'));
    assert.equal(await exchange(other.address, '1'), 'a1');
    await env.s2ds.release(uid);
    await env.s2ds.release(other.uid);
    await expectCode('SCI_STREAM_NOT_FOUND', env.s2ds.status(request.uid));
    await env.expectNothingLeft();
  },

  'ends open connections when their program is killed': async (env) => {
    const { uid, address } = await env.startTo(await env.server(named('a')));
    const open = await env.dial(address);
    assert.equal(await read(open, 1), 'a');
    await env.kill(uid);
    await receiveAll(open).catch((error: unknown) => assert.ok(error instanceof Error));
    assert.ok(open.readableEnded || open.destroyed);
  },

  'leaves nothing behind when its program ends during the start': async (env) => {
    const request = await env.reserve({ connections: 2 });
    env.afterStart(async (ref) => {
      await env.runtime.signal(ref, 'SIGKILL');
      await env.runtime.exited(ref, new AbortController().signal);
    });
    await expectCode('SCI_PROXY_NOT_READY', env.s2ds.start(request));
    await expectCode('SCI_STREAM_NOT_FOUND', env.s2ds.status(request.uid));
    await env.expectNothingLeft();
  },

  'leaves nothing behind when the start is aborted': async (env) => {
    await assert.rejects(env.s2ds.start(await env.reserve(), AbortSignal.abort()), { name: 'AbortError' });
    await env.expectNothingLeft();

    const abort = new AbortController();
    env.afterStart(() => Promise.resolve(abort.abort()));
    const request = await env.reserve();
    await assert.rejects(env.s2ds.start(request, abort.signal), { name: 'AbortError' });
    await expectCode('SCI_STREAM_NOT_FOUND', env.s2ds.status(request.uid));
    await env.expectNothingLeft();
  },
};
