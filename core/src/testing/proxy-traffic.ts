import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { formatAddress } from '../contracts/address.js';
import { systemCode } from '../contracts/errors.js';
import { exchange, named, read, receiveAll, sendRandom, type Flow } from './network.js';
import { type ProxyCases, listener } from './proxy-environment.js';
import { eventually } from './support.js';

const MIB = 1024 * 1024;

/** Transfer of bytes through a stream. */
export const trafficCases: ProxyCases = {
  'listens on exactly the requested addresses when start returns': async (env) => {
    const request = await env.start({ connections: 3 });
    await Promise.all([0, 1, 2].map((i) => env.knock(listener(request, i))));
    assert.deepEqual(
      await env.listening(request.uid),
      request.listeners.map(({ address }) => formatAddress(address)).sort(),
    );
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
    let bytes = 0;
    const endsAtOnce = await env.server((socket) => {
      socket.end('bye');
      socket.on('data', (chunk: Buffer) => (bytes += chunk.length));
      heard.push(receiveAll(socket));
    });
    await env.s2ds.updateTargets(uid, [endsAtOnce]);
    const talking = await env.dial(address);
    assert.equal((await receiveAll(talking)).bytes, 3);
    const sent = await sendRandom(
      talking,
      MIB,
      undefined,
      env.beforeEnd(() => bytes),
    );
    assert.deepEqual(await Promise.all(heard), [sent]);
  },

  // Real connections are silent for hours, and proxies have no idle timeout at all, as their configuration shows. This
  // case only proves that there is no short one.
  'keeps a connection that is silent for 3 s': async (env) => {
    const { address } = await env.startTo(await env.server(named('a')));
    const silent = await env.dial(address);
    assert.equal(await read(silent, 1), 'a');
    const closed = once(silent, 'close').then(() => 'closed');
    assert.equal(await Promise.race([closed, delay(3_000, 'open')]), 'open');
    silent.write('still here');
    assert.equal(await read(silent, 10), 'still here');
  },

  'ends its side of a connection when the other side is closed': async (env) => {
    const accepted: Socket[] = [];
    const { address } = await env.startTo(await env.server((socket) => accepted.push(socket)));
    const near = await env.dial(address);
    near.write('x');
    await eventually(() => assert.equal(accepted.length, 1));
    for (const socket of accepted) socket.destroy();
    // Unread bytes of the target cause a reset (RFC 1122 §4.2.2.13), which a proxy may pass on.
    const end = await receiveAll(near).then(({ bytes }) => bytes, systemCode);
    assert.ok(end === 0 || end === 'ECONNRESET', `the connection ended with ${end}`);
  },
};

/** Cases for runtimes whose programs have IPv6. */
export const ipv6Cases: ProxyCases = {
  'listens on and connects to IPv6': async (env) => {
    const { uid, address } = await env.startTo(await env.server(named('6'), env.hosts.v6), { host: env.hosts.v6 });
    assert.equal(await exchange(address, 'hello'), '6hello');
    assert.deepEqual(await env.listening(uid), [formatAddress(address)]);
  },
};
