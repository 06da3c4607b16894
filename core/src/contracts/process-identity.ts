import { readFile } from 'node:fs/promises';
import { systemCode } from './errors.js';

/** Identifies a process. A later process with the same pid has another start time. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat, in clock ticks since boot (proc(5)). */
  readonly startTime: string;
}

/**
 * Handles a failed read below /proc/PID: returns an empty text if the process has ended, and throws any other error. An
 * error such as EMFILE does not prove that the process has ended; to assume so would restart a running proxy.
 */
export const gone = (error: unknown): '' => {
  const code = systemCode(error);
  if (code === 'ENOENT' || code === 'ESRCH') return '';
  throw error;
};

/** Returns true if a process with this pid exists and this user may signal it. */
function isOurs(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Reads the fields of /proc/PID/stat, from the third (the state) on. Empty if the process does not exist. */
export async function statFields(pid: number): Promise<readonly string[]> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch((error: unknown) => {
    // With hidepid=1, processes of other users give EPERM (proc(5)).
    if (systemCode(error) === 'EPERM' && !isOurs(pid)) return '';
    return gone(error);
  });
  // The name in parentheses may contain spaces and parentheses, so the fields start after the last ')'.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/**
 * Reads the identity of a running process. Undefined if it does not exist. A zombie counts as running while some of its
 * threads have not ended, because they hold its sockets.
 * @throws the system error if the state is unknown; the process may still run
 */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  const fields = await statFields(pid);
  const [state] = fields;
  const startTime = fields[19];
  const threads = Number(fields[17]);
  if (!startTime || state === 'X' || (state === 'Z' && threads <= 1)) return undefined;
  return { pid, startTime };
}

/** Returns true if this process still runs. @throws as {@link identify} */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  return (await identify(identity.pid))?.startTime === identity.startTime;
}
