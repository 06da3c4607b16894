// needs: nginx
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Address } from '@scistream/core';
import { eventually, listener } from '@scistream/core/testing';
import { childrenOf, onlyInstance, withNginx } from './support.js';

/** Largest payload of a datagram over IPv4. */
const LARGEST = 65_507;

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

async function ask(socket: Socket, { host, port }: Address, message: string | Buffer): Promise<Buffer> {
  const answer = once(socket, 'message');
  socket.send(message, port, host);
  const [reply] = (await answer) as [Buffer];
  return reply;
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
      const replies = [await ask(first, address, '1'), await ask(second, address, '2'), await ask(first, address, '3')];
      assert.equal(replies.map(String), ['a1', 'a2', 'a3']);
      assert.is(a.from.size, 2);
      const large = Buffer.alloc(LARGEST - 1, 'x');
      assert.ok((await ask(first, address, large)).equals(Buffer.concat([Buffer.from('a'), large])));
      for (const target of [b, a, b]) await env.s2ds.updateTargets(request.uid, [target.address]);
      assert.is(String(await ask(first, address, '4')), 'b4');
      assert.is(String(await ask(second, address, '5')), 'b5');
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
      await eventually(async () => {
        await ask(client, listener(request), 'x');
        assert.ok(a.from.size > 1);
      });
    });
  } finally {
    for (const socket of [a.socket, client]) socket.close();
  }
});

s.run();
