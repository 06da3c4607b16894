import type { ChildProcess } from 'node:child_process';
import { systemCode } from '../contracts/errors.js';

/** The variables that proxies get. The rest of the daemon's environment may contain tokens. */
const ENVIRONMENT = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR'];

/** Whether the exit event of a child has arrived. */
export const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null;

/** Settles when a child has ended or `signal` aborts. Removes its listeners from both, because either may last much longer. */
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

/** The environment of a program and of the commands that run beside it. */
export function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    ENVIRONMENT.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
}

/** Signals a process; does nothing if it has just ended. */
export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (systemCode(error) !== 'ESRCH') throw error;
  }
}
