import { createSocket } from 'node:dgram';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { formatAddress, type Address, type Transport } from '../address.js';
import { systemCode } from '../errors.js';

/** Pids of the living processes that work in `directory` or below it. */
export async function processesBelow(directory: string): Promise<readonly number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  // Neither a zombie nor another user's process shows its directory; neither can be one of ours that still works.
  const directories = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => '')));
  return pids.filter((_, i) => `${directories[i]}/`.startsWith(`${directory}/`));
}

/** Addresses on which the given processes accept TCP connections, as host:port, sorted. */
export async function listeningAddresses(pids: readonly number[]): Promise<readonly string[]> {
  const inodes = new Set((await Promise.all(pids.map(socketInodes))).flat());
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((table) => readFile(`/proc/net/${table}`, 'utf8').catch(() => '')),
  );
  const rows = tables.flatMap((table) => table.trim().split('\n').slice(1)).map((row) => row.trim().split(/\s+/));
  const listening = rows.filter(([, , , state, , , , , , inode]) => state === LISTEN && inodes.has(inode ?? ''));
  return [...new Set(listening.map(([, local = '']) => formatAddress(parseProcAddress(local))))].sort();
}

/** TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp shows it. */
const LISTEN = '0A';

async function socketInodes(pid: number): Promise<string[]> {
  const fds = await readdir(`/proc/${pid}/fd`);
  const links = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  return links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []);
}

/** `0100007F:13EC`: 32-bit words in the byte order of the machine, here little endian, and the port in hexadecimal. */
function parseProcAddress(text: string): Address {
  const [hex = '', port = ''] = text.split(':');
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) => [...Buffer.from(word, 'hex').reverse()]);
  if (bytes.length === 4) return { host: bytes.join('.'), port: parseInt(port, 16) };
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((bytes[2 * i] ?? 0) * 256 + (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  // The URL parser writes an IPv6 address in its shortest form (RFC 5952), in brackets.
  const host = new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1);
  return { host, port: parseInt(port, 16) };
}

/** Resolves when the port can be bound exclusively, so nobody uses it. Rejects with EADDRINUSE otherwise. */
export async function expectFree({ host, port }: Address, transport: Transport): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    if (transport === 'tcp') {
      const server = createServer().once('error', reject);
      server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()));
    } else {
      const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4').once('error', reject);
      socket.bind({ address: host, port, exclusive: true }, () => socket.close(resolve));
    }
  });
}

/** SIGKILL. That the process ended a moment before is fine. */
export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (systemCode(error) !== 'ESRCH') throw error;
  }
}
