import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { S2DSException } from '../errors.js';
import { dial, exchange, named, read, receiveAll } from './network.js';
import type { ProxyCases } from './proxy-contract.js';
import { expectCode, listener } from './proxy-environment.js';
import { eventually } from './support.js';

/** How streams begin and end, alone and beside each other. */
export const lifecycleCases: ProxyCases = {
  'refuses to start a uid twice': async (env) => {
    const request = await env.start();
    await expectCode('SCI_STREAM_EXISTS', env.s2ds.start(request));
    await env.s2ds.updateTargets(request.uid, [await env.server(named('a'))]);
    assert.equal(await exchange(listener(request), '1'), 'a1');
  },

  'knows no stream that was never started': async (env) => {
    const target = { host: '127.0.0.1', port: 9 };
    await expectCode('SCI_STREAM_NOT_FOUND', env.s2ds.updateTargets('unknown-uid', [target]));
    await expectCode('SCI_STREAM_NOT_FOUND', env.s2ds.status('unknown-uid'));
    await expectCode('SCI_STREAM_NOT_FOUND', env.s2ds.ended('unknown-uid'));
    await env.s2ds.release('unknown-uid');
  },

  'release closes everything, may be repeated, and the uid can be used again': async (env) => {
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

  'carries two streams that do not disturb each other': async (env) => {
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

  'ends released when updates and a release of one uid overlap': async (env) => {
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

  'says so when its program is killed': async (env) => {
    const target = await env.server(named('a'));
    const { uid, address } = await env.startTo(target);
    const other = await env.startTo(target);
    const ended = env.s2ds.ended(uid);
    await env.kill(uid);
    const error = await ended;
    assert.ok(error instanceof S2DSException);
    assert.equal(error.code, 'SCI_PROXY_DIED');
    const status = await env.s2ds.status(uid);
    assert.equal(status.state, 'failed');
    assert.equal(status.error, error);
    await expectCode('SCI_PROXY_DIED', env.s2ds.updateTargets(uid, [target]));
    await assert.rejects(dial(address), { code: 'ECONNREFUSED' });
    assert.equal(await exchange(other.address, '1'), 'a1');
    await env.s2ds.release(uid);
    await env.s2ds.release(other.uid);
    await env.expectNothingLeft();
  },

  'leaves nothing when its program ends while it starts': async (env) => {
    const request = await env.reserve({ count: 2 });
    env.runtime.afterStart = async (ref) => {
      await env.runtime.signal(ref, 'SIGKILL');
      await env.runtime.exited(ref, new AbortController().signal);
    };
    await expectCode('SCI_PROXY_NOT_READY', env.s2ds.start(request));
    await expectCode('SCI_STREAM_NOT_FOUND', env.s2ds.status(request.uid));
    await env.expectNothingLeft();
  },

  'leaves nothing when the start is aborted': async (env) => {
    await assert.rejects(env.s2ds.start(await env.reserve(), AbortSignal.abort()), { name: 'AbortError' });
    await env.expectNothingLeft();

    const abort = new AbortController();
    env.runtime.afterStart = () => Promise.resolve(abort.abort());
    const request = await env.reserve();
    await assert.rejects(env.s2ds.start(request, abort.signal), { name: 'AbortError' });
    await expectCode('SCI_STREAM_NOT_FOUND', env.s2ds.status(request.uid));
    await env.expectNothingLeft();
  },

  'carries UDP or says that it does not': async (env) => {
    const request = await env.reserve({ transport: 'udp' });
    if (!env.s2ds.supports.udp) {
      await expectCode('SCI_PROXY_UNSUPPORTED', env.s2ds.start(request));
      await env.expectNothingLeft();
      return;
    }
    await env.s2ds.start(request);
    const server = createSocket('udp4');
    const client = createSocket('udp4');
    try {
      server.on('message', (message, from) => server.send(message, from.port, from.address));
      await new Promise<void>((done) => server.bind(0, '127.0.0.1', done));
      await env.s2ds.updateTargets(request.uid, [{ host: '127.0.0.1', port: server.address().port }]);
      const replies: string[] = [];
      client.on('message', (message) => replies.push(message.toString()));
      const { host, port } = listener(request);
      client.send('ping', port, host);
      await eventually(() => assert.deepEqual(replies, ['ping']));
    } finally {
      client.close();
      server.close();
    }
  },

  'ends a connection that was open when its program is killed': async (env) => {
    const { uid, address } = await env.startTo(await env.server(named('a')));
    const open = await env.dial(address);
    assert.equal(await read(open, 1), 'a');
    await env.kill(uid);
    await receiveAll(open).catch((error: unknown) => assert.ok(error instanceof Error));
    assert.ok(open.readableEnded || open.destroyed);
  },
};
