import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { poll } from '../contracts/wait.js';

/**
 * Ports for tests are below the kernel's ephemeral ports (net.ipv4.ip_local_port_range, 32768 and up) and are allocated
 * in blocks. The owner of a block holds a UDP socket on its first port at a reserved address, so that concurrent test
 * files do not collide. The kernel frees the block when the process ends.
 */
const FIRST = 16_384;
const BLOCKS = 512;
const BLOCK = 32;
const GUARD = '127.0.0.250';

/** Ports of one process, both ends included. */
export interface FreeRange {
  readonly first: number;
  readonly last: number;
}

/**
 * Allocates a range of TCP ports that can be bound on every address, until the process ends. Only processes that use
 * this function are kept apart.
 */
export function freeRange(size: number): Promise<FreeRange> {
  const blocks = Math.ceil(size / BLOCK);
  const attempt = async (): Promise<FreeRange> => {
    const first = FIRST + BLOCK * randomInt(BLOCKS - blocks);
    const guards: Socket[] = [];
    try {
      for (let i = 0; i < blocks; i += 1) guards.push(await guard(first + i * BLOCK));
      for (let port = first; port < first + size; port += 1) await listenAndClose(port);
      return { first, last: first + size - 1 };
    } catch (error) {
      for (const socket of guards) socket.close();
      throw error;
    }
  };
  return poll(attempt, { timeoutMs: 30_000, intervalMs: 0 }, (cause) => new Error(`no ${size} free ports`, { cause }));
}

async function guard(port: number): Promise<Socket> {
  const socket = createSocket('udp4').bind({ port, address: GUARD, exclusive: true });
  await once(socket, 'listening');
  return socket.unref();
}

function listenAndClose(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen({ host: '0.0.0.0', port, exclusive: true }, () => server.close(() => resolve()));
  });
}
