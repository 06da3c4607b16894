import type { ChildProcess } from 'node:child_process';
import { systemCode } from '../contracts/errors.js';

/** All a proxy gets to see of the daemon's environment, which may hold tokens. */
const ENVIRONMENT = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR'];

/** Whether its end was told. */
export const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null;

/** Settles when a child has ended, or `signal` aborts. Leaves nothing behind at either, which would live as long as the other. */
export function ended(child: ChildProcess, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      child.off('exit', settle);
      signal?.removeEventListener('abort', settle);
      resolve();
    };
    if (hasEnded(child) || signal?.aborted) return resolve();
    child.once('exit', settle);
    signal?.addEventListener('abort', settle, { once: true });
  });
}

/** For a program and the commands beside it. */
export function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    ENVIRONMENT.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
}

/** Signals a process. It may have ended in this very moment, which is what the caller wants anyway. */
export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (systemCode(error) !== 'ESRCH') throw error;
  }
}
