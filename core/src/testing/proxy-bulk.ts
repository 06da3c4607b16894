import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { echo, exchange, named, receiveAll, sendRandom, type Flow } from './network.js';
import { type ProxyCases, listener } from './proxy-environment.js';
import { eventually } from './support.js';

const MIB = 1024 * 1024;

/** Volume: many bytes and many connections. */
export const bulkCases: ProxyCases = {
  'carries 64 MiB each way unchanged': async (env) => {
    const far: Promise<[Flow, Flow]>[] = [];
    let heard = 0;
    const target = await env.server((socket) => {
      socket.on('data', (chunk: Buffer) => (heard += chunk.length));
      far.push(Promise.all([sendRandom(socket, 64 * MIB), receiveAll(socket)]));
    });
    const { address } = await env.startTo(target);
    const near = await env.dial(address);
    const receiving = receiveAll(near);
    const arrived = env.beforeEnd(() => heard);
    const beforeEnd = arrived && ((bytes: number) => Promise.all([arrived(bytes), receiving]));
    const [sent, received] = await Promise.all([sendRandom(near, 64 * MIB, undefined, beforeEnd), receiving]);
    const [other] = await Promise.all(far);
    assert.deepEqual([received, sent], other);
  },

  'carries 64 connections at the same time, each its own bytes': async (env) => {
    const { address } = await env.startTo(await env.server(echo));
    const sockets = await Promise.all(Array.from({ length: 64 }, () => env.dial(address)));
    const flows = await Promise.all(
      sockets.map((socket) => {
        let back = 0;
        socket.on('data', (chunk: Buffer) => (back += chunk.length));
        const beforeEnd = env.beforeEnd(() => back);
        return Promise.all([sendRandom(socket, MIB, undefined, beforeEnd), receiveAll(socket)]);
      }),
    );
    for (const [sent, received] of flows) assert.deepEqual(received, sent);
  },

  'carries 1 GiB unchanged': async (env) => {
    const heard: Promise<Flow>[] = [];
    const target = await env.server((socket) => heard.push(receiveAll(socket).finally(() => socket.end())));
    const { address } = await env.startTo(target);
    const near = await env.dial(address);
    const [sent, received] = await Promise.all([sendRandom(near, 1024 * MIB), receiveAll(near)]);
    assert.deepEqual(await Promise.all(heard), [sent]);
    assert.equal(received.bytes, 0);
  },

  'makes a fast sender wait for a slow reader, and no other connection': async (env) => {
    const offered = 128 * MIB;
    let sent = 0;
    const flows: Promise<Flow>[] = [];
    const floods = await env.server((socket) => flows.push(sendRandom(socket, offered, (bytes) => (sent = bytes))));
    const echoes = await env.server(named('e'));
    const request = await env.start({ connections: 2 });
    await env.s2ds.updateTargets(request.uid, [floods, echoes]);
    const slow = await env.dial(listener(request, 0));
    let before = -1;
    await eventually(async () => {
      await delay(100);
      const grown = sent - before;
      before = sent;
      assert.ok(sent > 0 && grown === 0, `${sent} bytes were accepted, ${grown} of them just now`);
    });
    assert.ok(sent < offered, `all ${offered} bytes were accepted without a reader`);
    assert.equal(await exchange(listener(request, 1), 'quick'), 'equick');
    const received = await receiveAll(slow);
    assert.deepEqual([received], await Promise.all(flows));
  },
};
