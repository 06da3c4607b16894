import { readdir, readFile, readlink, realpath } from 'node:fs/promises';

/** Tells one process from a later one with the same pid. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat, in clock ticks since boot (proc(5)). */
  readonly startTime: string;
}

/** Reads the identity of a process that lives (a zombie does not). Undefined when there is none. */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The name in parentheses may itself contain spaces and parentheses, so fields count from the last ')'.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  const startTime = fields[19];
  if (!startTime || state === 'Z' || state === 'X') return undefined;
  return { pid, startTime };
}

/** Whether exactly that process still lives. */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  return (await identify(identity.pid))?.startTime === identity.startTime;
}

/**
 * Pids of the living processes whose working directory is `directory`. Unlike a process group this names only processes
 * that belong to an instance, also when its first process ended long ago and the pid is in use again.
 */
export async function processesIn(directory: string): Promise<readonly number[]> {
  // The kernel tells the path without symbolic links; a directory that is gone has nobody in it.
  const real = await realpath(directory).catch(() => directory);
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  // A zombie has no working directory any more; other users' processes cannot be read and are not ours.
  const found = await Promise.all(
    pids.map(async (pid) => (await readlink(`/proc/${pid}/cwd`).catch(() => '')) === real),
  );
  return pids.filter((_, i) => found[i]);
}
