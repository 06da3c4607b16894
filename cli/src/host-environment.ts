/**
 * Prepares the process for what containers, login nodes and batch jobs lack. The programs import this before anything
 * else, and it imports only `node:` modules.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';

/** The home directory of accounts that have none (Debian policy, section 9.2.3). Nothing is read or written there. */
const NO_HOME = '/nonexistent';
/** Files that Node.js opens at the same time to load a program, measured with Node.js 20. With fewer, loading fails. */
const LEAST_FILES = 160;

/** Maximum number of open files: the hard limit, because Node.js raises its soft limit to it. Undefined: no limit. */
export const maximumFiles = limitOf('Max open files');

function limitOf(name: string): number | undefined {
  try {
    const found = new RegExp(`^${name}\\s+\\S+\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/limits', 'utf8'));
    return found ? Number(found[1]) : undefined;
  } catch {
    return undefined;
  }
}

/** Ends the process with SCI_SYSTEM, without the modules that format errors: they could not be loaded. */
function refuse(message: string, suggestion: string): never {
  const code = 'SCI_SYSTEM';
  const error = { code, message, suggestions: [suggestion], ref: 'docs/reference/errors.md#sci_system' };
  if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify({ error })}\n`);
  else process.stderr.write(`Error: ${message} [${code}]\nTry: ${suggestion}\n`);
  process.exit(71);
}

if (maximumFiles !== undefined && maximumFiles < LEAST_FILES) {
  refuse(
    `The limit of open files is ${maximumFiles}, but this program needs at least ${LEAST_FILES} to start.`,
    'Raise the hard limit: ulimit -n 1024, or LimitNOFILE= in the systemd unit.',
  );
}

// Without an entry in /etc/passwd (`docker run --user 12345`, OpenShift) a process has no home directory and no shell, and
// Node.js throws when a library requests them.
try {
  homedir();
} catch {
  process.env.HOME = NO_HOME;
}
process.env.SHELL ||= '/bin/sh';

// A umask such as 0177 would take from this user the right to enter the directories that the program creates.
process.umask(process.umask() & 0o077);
