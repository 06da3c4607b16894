import { readdir, readlink, realpath } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { listeningIn, type PortRange } from './ports.js';

/** What streams have on a gateway, as the operating system tells it. */
export interface Leftovers {
  /** Pids of the processes that work below the state directory. */
  readonly processes: readonly number[];
  /** Listening addresses of the port range, whoever listens. */
  readonly listening: readonly string[];
  /** Files of instances, relative to the state directory. */
  readonly files: readonly string[];
}

/** What there is when there is no stream. */
export const NOTHING: Leftovers = { processes: [], listening: [], files: [] };

/** Files of the daemons themselves. */
const OWN = /^(lock|owner|s2cs|gateways\.json|tls\/.*|(gateway\/)?db\/.*)$/;

/** What streams of the control server with this state directory and range have at the moment. */
export async function leftovers(state: string, range: PortRange): Promise<Leftovers> {
  const entries = await readdir(state, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(state, join(entry.parentPath, entry.name)))
    .filter((file) => !OWN.test(file));
  return { processes: await processesBelow(state), listening: await listeningIn(range), files };
}

/** Pids of the living processes that work in `directory` or below it. */
export async function processesBelow(directory: string): Promise<readonly number[]> {
  const real = await realpath(directory).catch(() => directory);
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  // A zombie has no directory any more, and other users' processes are none of a test's.
  const directories = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => '')));
  return pids.filter((_, i) => `${directories[i]}/`.startsWith(`${real}/`));
}
