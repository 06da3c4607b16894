/** Ends what a run of the suite leaves when it is interrupted: daemons and proxies, which are no children of it any more. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Makes a temporary directory that everything started from now on uses. Called once, first. @returns what removes all of it */
export function ownTemporary(): () => void {
  // Short, because the path of a unix socket may have no more than 107 bytes (unix(7)).
  const directory = mkdtempSync(join(tmpdir(), 'scf-'));
  process.env.TMPDIR = directory;
  return () => {
    for (const pid of processesWith(`TMPDIR=${directory}`)) process.kill(pid, 'SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  };
}

/** Other processes with this entry in their environment. */
function processesWith(entry: string): readonly number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => pid !== process.pid && environment(pid).includes(entry));
}

/** Of a process that is gone or of somebody else: nothing. */
function environment(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    return [];
  }
}
