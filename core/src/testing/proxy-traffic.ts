import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { formatAddress } from '../address.js';
import { echo, exchange, named, read, receiveAll, sendRandom, type Flow } from './network.js';
import type { ProxyCases } from './proxy-contract.js';
import { listener } from './proxy-environment.js';
import { eventually } from './support.js';

const MIB = 1024 * 1024;

/** How bytes travel through a stream. */
export const trafficCases: ProxyCases = {
  'listens on exactly the addresses asked for when start returns': async (env) => {
    const request = await env.start({ count: 3 });
    await Promise.all([0, 1, 2].map(async (i) => (await env.dial(listener(request, i))).destroy()));
    assert.deepEqual(await env.listening(), request.listeners.map(({ address }) => formatAddress(address)).sort());
  },

  'carries 64 MiB each way unchanged': async (env) => {
    const far: Promise<[Flow, Flow]>[] = [];
    const target = await env.server((socket) =>
      far.push(Promise.all([sendRandom(socket, 64 * MIB), receiveAll(socket)])),
    );
    const { address } = await env.startTo(target);
    const near = await env.dial(address);
    const [sent, received] = await Promise.all([sendRandom(near, 64 * MIB), receiveAll(near)]);
    const [other] = await Promise.all(far);
    assert.deepEqual([received, sent], other);
  },

  'carries 32 connections at the same time, each its own bytes': async (env) => {
    const { address } = await env.startTo(await env.server(echo));
    const sockets = await Promise.all(Array.from({ length: 32 }, () => env.dial(address)));
    const flows = await Promise.all(
      sockets.map((socket) => Promise.all([sendRandom(socket, MIB), receiveAll(socket)])),
    );
    for (const [sent, received] of flows) assert.deepEqual(received, sent);
  },

  'passes the end of one direction on and keeps the other open': async (env) => {
    const answersAtEnd = await env.server((socket) => {
      socket.resume();
      socket.once('end', () => socket.end('answer'));
    });
    const { uid, address } = await env.startTo(answersAtEnd);
    const asking = await env.dial(address);
    asking.end('question');
    assert.equal(await read(asking, 6), 'answer');

    const heard: Promise<Flow>[] = [];
    const endsAtOnce = await env.server((socket) => {
      socket.end('bye');
      heard.push(receiveAll(socket));
    });
    await env.s2ds.updateTargets(uid, [endsAtOnce]);
    const talking = await env.dial(address);
    assert.equal((await receiveAll(talking)).bytes, 3);
    const sent = await sendRandom(talking, MIB);
    assert.deepEqual(await Promise.all(heard), [sent]);
  },

  'makes a fast sender wait for a slow reader, and nobody else': async (env) => {
    const offered = 128 * MIB;
    let sent = 0;
    const flows: Promise<Flow>[] = [];
    const floods = await env.server((socket) => flows.push(sendRandom(socket, offered, (bytes) => (sent = bytes))));
    const echoes = await env.server(named('e'));
    const request = await env.start({ count: 2 });
    await env.s2ds.updateTargets(request.uid, [floods, echoes]);
    const slow = await env.dial(listener(request, 0));
    let before = -1;
    await eventually(async () => {
      await delay(100);
      const grown = sent - before;
      before = sent;
      assert.ok(sent > 0 && grown === 0, `${sent} bytes were taken, ${grown} of them just now`);
    });
    assert.ok(sent < offered, `all ${offered} bytes were taken though nobody read`);
    assert.equal(await exchange(listener(request, 1), 'quick'), 'equick');
    const received = await receiveAll(slow);
    assert.deepEqual([received], await Promise.all(flows));
  },

  // Real deployments are silent for hours. That needs no longer test: a proxy has no idle time-out at all, which its
  // configuration shows; what is proven here is that none of a second or two is hidden in it.
  'keeps a connection that is silent for 3 s': async (env) => {
    const { address } = await env.startTo(await env.server(named('a')));
    const silent = await env.dial(address);
    assert.equal(await read(silent, 1), 'a');
    const closed = once(silent, 'close').then(() => 'closed');
    assert.equal(await Promise.race([closed, delay(3_000, 'open')]), 'open');
    silent.write('still here');
    assert.equal(await read(silent, 10), 'still here');
  },

  'listens on and connects to IPv6': async (env) => {
    const { address } = await env.startTo(await env.server(named('6'), '::1'), { host: '::1' });
    assert.equal(await exchange(address, 'hello'), '6hello');
    assert.deepEqual(await env.listening(), [formatAddress(address)]);
  },

  'ends its side of a connection when the other side is gone': async (env) => {
    const accepted: Socket[] = [];
    const { address } = await env.startTo(await env.server((socket) => accepted.push(socket)));
    const near = await env.dial(address);
    near.write('x');
    await eventually(() => assert.equal(accepted.length, 1));
    for (const socket of accepted) socket.destroy();
    assert.equal((await receiveAll(near)).bytes, 0);
  },
};
