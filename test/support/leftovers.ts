import { readdir, readlink, realpath } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { listeningIn, type PortRange } from './ports.js';

/** What streams use on a gateway, according to the operating system. */
export interface Leftovers {
  /** Pids of processes whose working directory is below the state directory. */
  readonly processes: readonly number[];
  /** Listening addresses in the port range, of any process. */
  readonly listening: readonly string[];
  /** Files of instances, relative to the state directory. */
  readonly files: readonly string[];
}

/** The result without any stream. */
export const NOTHING: Leftovers = { processes: [], listening: [], files: [] };

/** Files of the daemons, which stay. */
const OWN = /^(lock|owner|s2cs|gateways\.json|tls\/.*|(gateway\/)?db\/.*)$/;

/** What the streams of the control server with this state directory and port range use now. */
export async function leftovers(state: string, range: PortRange): Promise<Leftovers> {
  const entries = await readdir(state, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(state, join(entry.parentPath, entry.name)))
    .filter((file) => !OWN.test(file));
  return { processes: await processesBelow(state), listening: await listeningIn(range), files };
}

/** Pids of the living processes whose working directory is `directory` or below it. */
export async function processesBelow(directory: string): Promise<readonly number[]> {
  const real = await realpath(directory).catch(() => directory);
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  // A zombie has no working directory, and the processes of other users do not matter.
  const directories = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => '')));
  return pids.filter((_, i) => `${directories[i]}/`.startsWith(`${real}/`));
}
