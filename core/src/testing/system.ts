import { createSocket } from 'node:dgram';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { formatAddress, type Address, type Transport } from '../contracts/address.js';
import { systemCode } from '../contracts/errors.js';
import { dial } from './network.js';

/** Pids of running processes whose working directory is `directory` or below it. */
export async function processesBelow(directory: string): Promise<readonly number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  // Zombies and processes of other users do not show their directory, and are none of the test's processes.
  const directories = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => '')));
  return pids.filter((_, i) => `${directories[i]}/`.startsWith(`${directory}/`));
}

/** The given processes and all their descendants. */
export async function descendants(ancestors: readonly number[]): Promise<readonly number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const parents = await Promise.all(pids.map(parentOf));
  const found = new Set(ancestors);
  for (let before = -1; found.size > before;) {
    before = found.size;
    pids.forEach((pid, i) => found.has(parents[i] ?? -1) && found.add(pid));
  }
  return [...found];
}

/** Field 4 of /proc/PID/stat (proc(5)). Fields count from the last `)`, because a program name may contain others. */
async function parentOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? -1);
}

/** Addresses on which the given processes accept TCP connections, as host:port, sorted. */
export async function listeningAddresses(pids: readonly number[]): Promise<readonly string[]> {
  const inodes = new Set((await Promise.all(pids.map(socketInodes))).flat());
  // Each process has the tables of its own network namespace.
  const paths = pids.flatMap((pid) => ['tcp', 'tcp6'].map((table) => `/proc/${pid}/net/${table}`));
  const tables = await Promise.all(paths.map((path) => readFile(path, 'utf8').catch(() => '')));
  const rows = tables.flatMap((table) => table.trim().split('\n').slice(1)).map((row) => row.trim().split(/\s+/));
  const listening = rows.filter(([, , , state, , , , , , inode]) => state === LISTEN && inodes.has(inode ?? ''));
  return [...new Set(listening.map(([, local = '']) => formatAddress(parseProcAddress(local))))].sort();
}

/** TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp shows it. */
const LISTEN = '0A';

async function socketInodes(pid: number): Promise<string[]> {
  const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const links = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  return links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []);
}

/**
 * Parses `0100007F:13EC`: 32-bit words in the byte order of the machine, here little endian, and a hexadecimal port.
 */
function parseProcAddress(text: string): Address {
  const [hex = '', port = ''] = text.split(':');
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) => [...Buffer.from(word, 'hex').reverse()]);
  if (bytes.length === 4) return { host: bytes.join('.'), port: parseInt(port, 16) };
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((bytes[2 * i] ?? 0) * 256 + (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  // The URL parser formats an IPv6 address in its shortest form (RFC 5952), in brackets.
  const host = new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1);
  return { host, port: parseInt(port, 16) };
}

/** Resolves if the port can be bound exclusively. Rejects with EADDRINUSE otherwise. */
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

/** Sends SIGKILL. A process that has already ended is not an error. */
export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (systemCode(error) !== 'ESRCH') throw error;
  }
}

/** Resolves if the address refuses TCP connections. Works for ports of other machines too. */
export async function expectRefused(address: Address, transport: Transport): Promise<void> {
  if (transport === 'udp') return;
  const open = await dial(address).then(
    (socket) => socket.destroy().destroyed,
    () => false,
  );
  if (open) throw new Error(`${formatAddress(address)} still accepts connections`);
}
