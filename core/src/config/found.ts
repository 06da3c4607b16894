import { lstat, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SciStreamError } from '../contracts/errors.js';

/** Bits of the file mode. */
const GROUP_WRITE = 0o020;
const ALL_WRITE = 0o002;
/** In a directory with this bit, such as /tmp, users cannot replace the files of others. */
const STICKY = 0o1000;

/**
 * Checks that only this user and root can have written a configuration file that was found in the working directory. The
 * file controls where tokens and data go, and the directory may belong to another user.
 * @param file Absolute.
 * @throws SCI_CONFIG_UNTRUSTED
 */
export async function mustBeOwn(file: string): Promise<void> {
  const why = await suspicion(file);
  if (why === undefined) return;
  const message = `${file} in the working directory is ignored: ${why}.`;
  throw new SciStreamError('SCI_CONFIG_UNTRUSTED', message, {
    suggestions: [
      `Name the file to use it: --config ${file}`,
      'Or use another directory, or restrict the file to your user: chown, chmod go-w',
    ],
  });
}

async function suspicion(file: string): Promise<string | undefined> {
  // The link itself counts too: its author could select files of other users.
  const [entry, target, directory] = await Promise.all([lstat(file), stat(file), stat(dirname(file))]);
  const stranger = [entry.uid, target.uid].find(isStranger);
  if (stranger !== undefined) return `it belongs to user ${stranger}`;
  const others = isOwnGroup(target.gid) ? ALL_WRITE : ALL_WRITE | GROUP_WRITE;
  if ((target.mode & others) !== 0) return `other users can write to it (mode ${octal(target.mode)})`;
  if (isStranger(directory.uid)) return `its directory belongs to user ${directory.uid}`;
  const open = (directory.mode & ALL_WRITE) !== 0 && (directory.mode & STICKY) === 0;
  return open ? `other users can write to its directory (mode ${octal(directory.mode)})` : undefined;
}

/** Neither this user nor root. */
const isStranger = (uid: number): boolean => uid !== 0 && uid !== process.getuid?.();

/** The private group of this user, as useradd creates it. With umask 002 its files are group-writable. */
const isOwnGroup = (gid: number): boolean => gid === process.getgid?.() && gid === process.getuid?.();

const octal = (mode: number): string => (mode & 0o7777).toString(8).padStart(4, '0');
