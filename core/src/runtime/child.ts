import type { ChildProcess } from 'node:child_process';
import { systemCode } from '../contracts/errors.js';

/**
 * The variables that proxies get. The rest of the daemon's environment may contain tokens, or is meant for one process,
 * such as `NODE_OPTIONS=--inspect`. CA variables (`NODE_EXTRA_CA_CERTS`, `SSL_CERT_FILE`) are not needed: a proxy trusts
 * only the CA of its stream.
 */
const ENVIRONMENT = [
  ...['PATH', 'HOME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR'],
  // Shared libraries of environment modules, conda and Spack, and what sites preload, as ld.so(8) reads them. The relay
  // runs the same Node.js as the daemon, which does not start without them.
  ...['LD_LIBRARY_PATH', 'LD_PRELOAD', 'GLIBC_TUNABLES'],
  // The TLS rules of the host, such as FIPS providers: openssl-env(7).
  ...['OPENSSL_CONF', 'OPENSSL_CONF_INCLUDE', 'OPENSSL_MODULES', 'OPENSSL_ENGINES'],
];

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
