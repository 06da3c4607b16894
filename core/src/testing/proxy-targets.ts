import assert from 'node:assert/strict';
import { lookup } from 'node:dns/promises';
import type { Socket } from 'node:net';
import { systemCode } from '../contracts/errors.js';
import type { ListenerStatistics } from '../contracts/stream.js';
import { echo, exchange, named, read, receiveAll, sendWhile, type Flow } from './network.js';
import { type ProxyCases, expectCode, listener } from './proxy-environment.js';
import { eventually } from './support.js';

/** An address of this machine that is no default. */
const LOCAL = '127.0.0.9';

/** An address of this machine at which nothing listens. */
const ABSENT = '127.0.0.8';

/** Connections that send continuously while targets change. */
const STREAMS = 4;

/** Targets of a stream and their updates. */
export const targetCases: ProxyCases = {
  'holds a connection that arrives before a target is set, or ends it immediately': async (env) => {
    const target = await env.server(echo);
    const request = await env.start();
    if (!env.holds) {
      // The connection ends or is reset, possibly before `connect` is emitted.
      await assert.rejects(exchange(listener(request), 'early'), (error) => systemCode(error) !== 'ECONNREFUSED');
      return;
    }
    const early = await env.dial(listener(request));
    early.write('early');
    // A proxy that closed the first connection would have done so by now.
    const alsoEarly = await env.dial(listener(request));
    await env.s2ds.updateTargets(request.uid, [target]);
    assert.equal(await read(early, 5), 'early');
    alsoEarly.write('too');
    assert.equal(await read(alsoEarly, 3), 'too');
  },

  'forwards listener i to target i mod n': async (env) => {
    const targets = await Promise.all(['a', 'b'].map((name) => env.server(named(name))));
    const request = await env.start({ connections: 3 });
    await env.s2ds.updateTargets(request.uid, targets);
    const replies = await Promise.all([0, 1, 2].map((i) => exchange(listener(request, i), String(i))));
    assert.deepEqual(replies, ['a0', 'b1', 'a2']);
  },

  'resolves host names': async (env) => {
    const { name } = env.hosts;
    const { address: host } = await lookup(name);
    const { port } = await env.server(named('n'), host);
    const { address } = await env.startTo({ host: name, port });
    assert.equal(await exchange(address, 'x'), 'nx');
  },

  'reaches another address of a target when the first ones refuse': async (env) => {
    const { host, port } = await env.server(named('a'));
    const other = await env.server(named('b'));
    // Nothing listens at these addresses, here and in a container.
    const target = { host: ABSENT, port, fallbacks: [LOCAL, host] };
    const { uid, address } = await env.startTo(target);
    assert.equal(await exchange(address, '1'), 'a1');
    await env.s2ds.updateTargets(uid, [other]);
    for (const text of ['2', '3', '4']) assert.equal(await exchange(address, text), `b${text}`);
    await env.s2ds.updateTargets(uid, [{ host: ABSENT, port: other.port, fallbacks: [other.host] }]);
    assert.equal(await exchange(address, '5'), 'b5');
    await env.s2ds.updateTargets(uid, [{ host, port, fallbacks: [LOCAL] }]);
    assert.equal(await exchange(address, '6'), 'a6');
    const { listeners } = await env.s2ds.status(uid);
    // An attempt that another address made good is no failure.
    for (const { errors, failures } of listeners) assert.deepEqual([errors, failures?.unreachableNow ?? 0], [0, 0]);
  },

  'each update changes the target of new connections': async (env) => {
    const a = await env.server(named('a'));
    const b = await env.server(named('b'));
    const { uid, address } = await env.startTo(a);
    const replies = [await exchange(address, '1')];
    for (const target of [b, a, a, b]) {
      await env.s2ds.updateTargets(uid, [target]);
      replies.push(await exchange(address, '2'));
    }
    assert.deepEqual(replies, ['a1', 'b2', 'a2', 'a2', 'b2']);
  },

  'connects from the configured address, and to other families from any': async (env) => {
    if (!env.s2ds.supports.localAddress || env.hosts.v4 !== '127.0.0.1') return;
    const seen: (string | undefined)[] = [];
    const handler = (socket: Socket): void => {
      seen.push(socket.remoteAddress);
      named('a')(socket);
    };
    const four = await env.server(handler);
    const six = await env.server(handler, env.hosts.v6);
    const { uid, address, request } = await env.startTo(four, { localAddress: LOCAL });
    assert.equal(await exchange(address, '1'), 'a1');
    for (const target of [six, four]) {
      await env.s2ds.updateTargets(uid, [target]);
      assert.equal(await exchange(address, '2'), 'a2');
    }
    env.restart();
    assert.equal(await env.s2ds.adopt(request, [four]), true);
    assert.equal(await exchange(address, '3'), 'a3');
    assert.deepEqual(seen, [LOCAL, env.hosts.v6, LOCAL, LOCAL]);
  },

  'updates under load refuse no connection, and with supports.liveRetarget close none and lose no byte': async (
    env,
  ) => {
    const a = await env.server(named('a'));
    const b = await env.server(named('b'));
    const { uid, address } = await env.startTo(a);
    let going = true;
    const streams: Promise<[Flow, Flow]>[] = [];
    for (let i = 0; i < STREAMS; i += 1) {
      const socket = await env.dial(address);
      assert.equal(await read(socket, 1), 'a');
      let back = 0;
      socket.on('data', (chunk: Buffer) => (back += chunk.length));
      const beforeEnd = env.beforeEnd(() => back);
      streams.push(Promise.all([sendWhile(socket, () => going, beforeEnd), receiveAll(socket)]));
    }
    const flows = Promise.allSettled(streams);
    const visit = async (): Promise<string[]> => {
      const replies: string[] = [];
      while (going) replies.push(await exchange(address, '!'));
      return replies;
    };
    // Settled, because the error of an update must be reported first.
    const visits = Promise.allSettled([visit()]);
    try {
      for (let i = 0; i < 10; i += 1) await env.s2ds.updateTargets(uid, [i % 2 ? a : b]);
      await env.s2ds.updateTargets(uid, [b]);
      assert.equal(await exchange(address, '!'), 'b!');
    } finally {
      going = false;
    }
    const [visited] = await visits;
    if (visited.status === 'rejected') throw visited.reason;
    for (const reply of visited.value) assert.match(reply, /^[ab]!$/);
    const ended = await flows;
    if (!env.s2ds.supports.liveRetarget) return;
    for (const flow of ended) {
      if (flow.status === 'rejected') throw flow.reason;
      const [sent, received] = flow.value;
      assert.ok(sent.bytes > 0);
      assert.deepEqual(received, sent);
    }
  },

  'a rejected update keeps the old targets': async (env) => {
    const { uid, address } = await env.startTo(await env.server(named('a')));
    await expectCode('SCI_TARGETS_INVALID', env.s2ds.updateTargets(uid, [address]));
    await expectCode('SCI_TARGETS_INVALID', env.s2ds.updateTargets(uid, []));
    assert.equal(await exchange(address, '1'), 'a1');
    assert.equal((await env.s2ds.status(uid)).state, 'running');
  },

  'an aborted update changes nothing': async (env) => {
    const { uid, address } = await env.startTo(await env.server(named('a')));
    const b = await env.server(named('b'));
    await assert.rejects(env.s2ds.updateTargets(uid, [b], AbortSignal.abort()), { name: 'AbortError' });
    assert.equal(await exchange(address, '1'), 'a1');
  },

  'counts connections and bytes exactly while they flow': async (env) => {
    const { uid, address } = await env.startTo(await env.server(named('a')));
    if (!env.s2ds.supports.statistics) {
      assert.deepEqual((await env.s2ds.status(uid)).listeners, []);
      return;
    }
    const expectCounters = (expected: Omit<ListenerStatistics, 'errors' | 'refused' | 'failures'>): Promise<void> =>
      eventually(async () => {
        const [counted] = (await env.s2ds.status(uid)).listeners;
        const { connections, open, bytesIn, bytesOut, errors } = counted ?? {};
        assert.deepEqual({ connections, open, bytesIn, bytesOut, errors }, { ...expected, errors: 0 });
      });
    await expectCounters({ connections: 0, open: 0, bytesIn: 0, bytesOut: 0 });
    const sockets = await Promise.all([env.dial(address), env.dial(address)]);
    for (const socket of sockets) socket.write('four');
    for (const socket of sockets) assert.equal(await read(socket, 5), 'afour');
    await expectCounters({ connections: 2, open: 2, bytesIn: 8, bytesOut: 10 });
    for (const socket of sockets) socket.end('more');
    for (const socket of sockets) assert.equal((await receiveAll(socket)).bytes, 4);
    await expectCounters({ connections: 2, open: 0, bytesIn: 16, bytesOut: 18 });
  },

  'counts resets by the side that caused them, and none of them as an unreachable target': async (env) => {
    if (!env.s2ds.supports.statistics) return;
    const servers: Socket[] = [];
    const target = await env.server((socket) => {
      servers.push(socket.on('error', () => undefined));
      named('a')(socket);
    });
    const { uid, address } = await env.startTo(target);
    const opened = async (): Promise<[Socket, Socket]> => {
      const client = await env.dial(address);
      client.write('x');
      assert.equal(await read(client, 2), 'ax');
      const server = servers.at(-1);
      assert.ok(server);
      return [client.on('error', () => undefined), server];
    };
    const first = await opened();
    first[0].resetAndDestroy();
    const second = await opened();
    second[1].resetAndDestroy();
    // Ordinary ends: the consumer closes first, and a change of targets.
    const [last] = await opened();
    last.end();
    await receiveAll(last);
    await env.s2ds.updateTargets(uid, [await env.server(named('b'))]);
    await eventually(async () => {
      const [counted] = (await env.s2ds.status(uid)).listeners;
      const { unreachable, unreachableNow, resetByConsumer, resetByProducer } = counted?.failures ?? {};
      assert.deepEqual(
        { unreachable, unreachableNow, resetByConsumer, resetByProducer },
        { unreachable: 0, unreachableNow: 0, resetByConsumer: 1, resetByProducer: 1 },
      );
      assert.deepEqual([counted?.open, counted?.errors], [0, 2]);
    });
  },
};
