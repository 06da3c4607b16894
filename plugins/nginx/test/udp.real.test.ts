// needs: nginx
// suite: full
import { createSocket, type Socket } from 'node:dgram';
import { on, once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Address } from '@scistream/core';
import { eventually, listener } from '@scistream/core/testing';
import { childrenOf, onlyInstance, withNginx } from './support.js';

/** Largest payload of a datagram over IPv4. */
const LARGEST = 65_507;
/** Until a message is sent again, long enough for a slow machine. */
const REPEAT_MS = 2_000;

const s = suite('udp');

/** Answers every datagram with its name and what came. */
async function udpServer(name: string): Promise<{ socket: Socket; address: Address; from: Set<number> }> {
  const socket = createSocket('udp4');
  const from = new Set<number>();
  socket.on('message', (message, { port, address }) => {
    from.add(port);
    socket.send(Buffer.concat([Buffer.from(name), message]).subarray(0, LARGEST), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return { socket, address: { host: '127.0.0.1', port: socket.address().port }, from };
}

/** Sends a message until the reply comes; a datagram may get lost. */
async function converse(
  socket: Socket,
  { host, port }: Address,
  message: string | Buffer,
  reply: string | Buffer,
): Promise<void> {
  const send = (): void => socket.send(message, port, host);
  const repeat = setInterval(send, REPEAT_MS);
  try {
    send();
    for await (const [answer] of on(socket, 'message')) if (Buffer.from(reply).equals(answer as Buffer)) return;
  } finally {
    clearInterval(repeat);
  }
}

s('each client has a session of its own, which follows the target, and datagrams of any size pass', async () => {
  const [a, b] = [await udpServer('a'), await udpServer('b')];
  const clients = [createSocket('udp4'), createSocket('udp4')];
  const [first, second] = clients as [Socket, Socket];
  try {
    await withNginx({}, async (env) => {
      const request = await env.start({ transport: 'udp' });
      const address = listener(request);
      const { pid } = await onlyInstance(env);
      await env.s2ds.updateTargets(request.uid, [a.address]);
      await converse(first, address, '1', 'a1');
      await converse(second, address, '2', 'a2');
      await converse(first, address, '3', 'a3');
      assert.is(a.from.size, 2);
      const large = Buffer.alloc(LARGEST - 1, 'x');
      await converse(first, address, large, Buffer.concat([Buffer.from('a'), large]));
      for (const target of [b, a, b]) await env.s2ds.updateTargets(request.uid, [target.address]);
      await converse(first, address, '4', 'b4');
      await converse(second, address, '5', 'b5');
      await eventually(async () => assert.is((await childrenOf(pid)).length, 1));
    });
  } finally {
    for (const socket of [a.socket, b.socket, ...clients]) socket.close();
  }
});

s('a session ends with silence', async () => {
  const a = await udpServer('a');
  const client = createSocket('udp4');
  try {
    await withNginx({ udpTimeout: '50ms' }, async (env) => {
      const request = await env.start({ transport: 'udp' });
      await env.s2ds.updateTargets(request.uid, [a.address]);
      const { host, port } = listener(request);
      await eventually(async () => {
        client.send('x', port, host);
        await delay(100);
        assert.ok(a.from.size > 1);
      });
    });
  } finally {
    for (const socket of [a.socket, client]) socket.close();
  }
});

s.run();
