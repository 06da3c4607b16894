import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** State of a listening socket in /proc/net/tcp, in hexadecimal. */
const LISTEN = '0A';

/**
 * Files that a control server keeps in its state directory without streams: its certificate, its identity and its
 * databases. None of them contains keys of streams.
 */
const KEPT = /^(owner$|tls(\/|$)|(gateway\/)?db\/)/;

/** Processes below the directories, listening ports of the ranges, and files of streams. The result must be empty. */
export async function leftovers(
  stateDirectories: readonly string[],
  ports: readonly [number, number][],
): Promise<string[]> {
  const [processes, listening, files] = await Promise.all([
    processesBelow(stateDirectories),
    listeningPorts(),
    Promise.all(stateDirectories.map(filesOfStreams)),
  ]);
  const open = listening.filter((port) => ports.some(([first, last]) => port >= first && port <= last));
  return [...processes.map((pid) => `process ${pid}`), ...open.map((port) => `port ${port}`), ...files.flat()];
}

async function processesBelow(directories: readonly string[]): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const cwds = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => '')));
  return pids.filter((_, i) => directories.some((directory) => cwds[i]?.startsWith(`${directory}/`)));
}

async function listeningPorts(): Promise<number[]> {
  const tables = await Promise.all(
    ['/proc/net/tcp', '/proc/net/tcp6'].map((path) => readFile(path, 'utf8').catch(() => '')),
  );
  return tables.flatMap((table) =>
    table.split('\n').flatMap((line) => {
      const [, local, , state] = line.trim().split(/\s+/);
      return state === LISTEN && local ? [parseInt(local.split(':')[1] ?? '', 16)] : [];
    }),
  );
}

async function filesOfStreams(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !KEPT.test(path.slice(directory.length + 1)));
}
