import { readFile } from 'node:fs/promises';
import { formatAddress } from '@scistream/core';
import type { FreeRange } from '@scistream/core/testing';

export { freeRange, type FreeRange as PortRange } from '@scistream/core/testing';

/** TCP_LISTEN of include/net/tcp_states.h, as in /proc/net/tcp. */
const LISTEN = '0A';

/** Addresses in the range that accept TCP connections in this network namespace, as host:port, sorted. */
export async function listeningIn({ first, last }: FreeRange): Promise<readonly string[]> {
  const tables = await Promise.all(['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8')));
  const rows = tables.flatMap((table) => table.trim().split('\n').slice(1)).map((row) => row.trim().split(/\s+/));
  return rows
    .filter(([, , , state]) => state === LISTEN)
    .map(([, local = '']) => parseLocal(local))
    .filter(({ port }) => port >= first && port <= last)
    .map(formatAddress)
    .sort();
}

/** `0100007F:13EC`: the address as a little-endian word, the port in hexadecimal. No test expects IPv6, so it is not decoded. */
function parseLocal(text: string): { readonly host: string; readonly port: number } {
  const [hex = '', port = ''] = text.split(':');
  const host = hex.length === 8 ? [...Buffer.from(hex, 'hex').reverse()].join('.') : `ipv6:${hex}`;
  return { host, port: parseInt(port, 16) };
}
