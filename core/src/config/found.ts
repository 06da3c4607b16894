import { lstat, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SciStreamError } from '../contracts/errors.js';

/** Who may write. */
const GROUP_WRITE = 0o020;
const ALL_WRITE = 0o002;
/** Nobody replaces files of others there, as in /tmp. */
const STICKY = 0o1000;

/**
 * Makes sure that nobody but this user and root can have put a configuration where it was merely found: it says where
 * tokens and data go, and a directory to work in may be anybody's.
 * @param file Absolute.
 * @throws SCI_CONFIG_UNTRUSTED
 */
export async function mustBeOwn(file: string): Promise<void> {
  const why = await suspicion(file);
  if (why === undefined) return;
  const message = `${file} was found in the working directory, but ${why}; it is not used.`;
  throw new SciStreamError('SCI_CONFIG_UNTRUSTED', message, {
    suggestions: [
      `Use it on purpose: --config ${file}`,
      'Or work in another directory, or leave the file to its user alone: chown, chmod go-w',
    ],
  });
}

async function suspicion(file: string): Promise<string | undefined> {
  // The link itself, too: whoever makes one chooses among the files of others.
  const [entry, target, directory] = await Promise.all([lstat(file), stat(file), stat(dirname(file))]);
  const stranger = [entry.uid, target.uid].find(isStranger);
  if (stranger !== undefined) return `it belongs to the user ${stranger}`;
  const others = isOwnGroup(target.gid) ? ALL_WRITE : ALL_WRITE | GROUP_WRITE;
  if ((target.mode & others) !== 0) return `others can write it (mode ${octal(target.mode)})`;
  if (isStranger(directory.uid)) return `its directory belongs to the user ${directory.uid}`;
  const open = (directory.mode & ALL_WRITE) !== 0 && (directory.mode & STICKY) === 0;
  return open ? `others can write its directory (mode ${octal(directory.mode)})` : undefined;
}

/** Neither this user nor root. */
const isStranger = (uid: number): boolean => uid !== 0 && uid !== process.getuid?.();

/** A group that is this user's alone, as useradd makes one for each; files are then made writable by it (umask 002). */
const isOwnGroup = (gid: number): boolean => gid === process.getgid?.() && gid === process.getuid?.();

const octal = (mode: number): string => (mode & 0o7777).toString(8).padStart(4, '0');
