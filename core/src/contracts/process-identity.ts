import { readFile } from 'node:fs/promises';
import { systemCode } from './errors.js';

/** Tells one process from a later one with the same pid. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat, in clock ticks since boot (proc(5)). */
  readonly startTime: string;
}

/**
 * What a process that is gone cannot tell. Every other failure, such as a daemon that has no descriptor left, says nothing
 * about the process, and who takes that for its end kills what lives.
 */
export const gone = (error: unknown): '' => {
  const code = systemCode(error);
  if (code === 'ENOENT' || code === 'ESRCH') return '';
  throw error;
};

/** Whether there is a process of this pid that may be signalled. */
function isOurs(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Fields of /proc/PID/stat from the third on (the state); none when there is no such process. */
export async function statFields(pid: number): Promise<readonly string[]> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch((error: unknown) => {
    // Where /proc is mounted with hidepid=1 this is how the processes of other users look (proc(5)).
    if (systemCode(error) === 'EPERM' && !isOurs(pid)) return '';
    return gone(error);
  });
  // The name in parentheses may itself contain spaces and parentheses, so fields count from the last ')'.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/**
 * Reads the identity of a process that lives. Undefined when there is none; a zombie lives as long as it has threads that
 * still end, for these hold its sockets.
 * @throws What the system says when it cannot be read, which does not say that there is none.
 */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  const fields = await statFields(pid);
  const [state] = fields;
  const startTime = fields[19];
  const threads = Number(fields[17]);
  if (!startTime || state === 'X' || (state === 'Z' && threads <= 1)) return undefined;
  return { pid, startTime };
}

/** Whether exactly that process still lives. @throws as {@link identify} */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  return (await identify(identity.pid))?.startTime === identity.startTime;
}
