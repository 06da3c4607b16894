import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { poll } from '../contracts/wait.js';

/**
 * Below the ports the kernel gives to clients (net.ipv4.ip_local_port_range, 32768 and up), dealt out in blocks. Who uses
 * a block holds a UDP socket on its first port at an address nobody else uses, so that test files that run at the same
 * time keep apart; the kernel gives it back when the process ends.
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
 * A range that is this process's own until it ends, of which every TCP port can be bound on every address. For tests:
 * only processes that ask here keep apart.
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
