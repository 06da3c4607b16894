/**
 * Sets the variables that libraries require and a container or batch job may lack. Without an entry in /etc/passwd
 * (`docker run --user 12345`, OpenShift) a process has no home directory and no shell, and Node.js throws when a library
 * requests them. The programs import this before anything else.
 */
import { homedir } from 'node:os';

/** The home directory of accounts that have none (Debian policy, section 9.2.3). Nothing is read or written there. */
const NO_HOME = '/nonexistent';

try {
  homedir();
} catch {
  process.env.HOME = NO_HOME;
}
process.env.SHELL ||= '/bin/sh';
