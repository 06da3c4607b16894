/** Ends what an interrupted run leaves: daemons and proxies, which are no longer its children. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Creates a temporary directory for everything started from now on. Call it once, first. @returns Removes all of it. */
export function ownTemporary(): () => void {
  // Short, because the path of a unix socket has at most 107 bytes (unix(7)).
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

/** Empty for a process that has ended or belongs to another user. */
function environment(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    return [];
  }
}
