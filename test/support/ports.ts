import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { formatAddress, poll } from '@scistream/core';

/** Below the ports the kernel gives to clients (net.ipv4.ip_local_port_range, 32768 and up). */
const FIRST = 12_000;
const LAST = 32_000;
/** TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp shows it. */
const LISTEN = '0A';

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** A range of which every TCP port can be bound on every address of this machine. */
export function freeRange(size: number): Promise<PortRange> {
  const attempt = async (): Promise<PortRange> => {
    const first = randomInt(FIRST, LAST - size);
    for (let port = first; port < first + size; port += 1) await listenAndClose(port);
    return { first, last: first + size - 1 };
  };
  return poll(attempt, { timeoutMs: 10_000, intervalMs: 0 }, () => new Error(`no ${size} free ports in a row`));
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
