import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { formatAddress, poll } from '@scistream/core';

/**
 * Below the ports the kernel gives to clients (net.ipv4.ip_local_port_range, 32768 and up), dealt out in blocks. Who uses
 * a block holds a UDP socket on its first port at an address nobody else uses, so that test files that run at the same
 * time keep apart; the kernel gives it back when the process ends.
 */
const FIRST = 16_384;
const BLOCKS = 512;
const BLOCK = 32;
const GUARD = '127.0.0.250';
/** TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp shows it. */
const LISTEN = '0A';

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** A range that is this process's own until it ends, of which every TCP port can be bound on every address. */
export function freeRange(size: number): Promise<PortRange> {
  const blocks = Math.ceil(size / BLOCK);
  const attempt = async (): Promise<PortRange> => {
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
  return poll(attempt, { timeoutMs: 10_000, intervalMs: 0 }, (cause) => new Error(`no ${size} free ports`, { cause }));
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

/** Addresses of the range on which anybody of this network namespace accepts TCP connections, as host:port, sorted. */
export async function listeningIn({ first, last }: PortRange): Promise<readonly string[]> {
  const tables = await Promise.all(['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8')));
  const rows = tables.flatMap((table) => table.trim().split('\n').slice(1)).map((row) => row.trim().split(/\s+/));
  return rows
    .filter(([, , , state]) => state === LISTEN)
    .map(([, local = '']) => parseLocal(local))
    .filter(({ port }) => port >= first && port <= last)
    .map(formatAddress)
    .sort();
}

/** `0100007F:13EC`: the address as a little-endian word, the port in hexadecimal. IPv6 stays as it is: no test expects it. */
function parseLocal(text: string): { readonly host: string; readonly port: number } {
  const [hex = '', port = ''] = text.split(':');
  const host = hex.length === 8 ? [...Buffer.from(hex, 'hex').reverse()].join('.') : `ipv6:${hex}`;
  return { host, port: parseInt(port, 16) };
}
