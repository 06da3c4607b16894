import { lstatSync, readFileSync, readlinkSync, realpathSync, statSync, type Stats } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { SciStreamError } from './errors.js';

/** Bits of the file mode. In a sticky directory, such as /tmp, users cannot replace the files of others. */
const STICKY = 0o1000;
const GROUP_WRITE = 0o020;
const ALL_READ = 0o004;
const ALL_WRITE = 0o002;
const ALL_SEARCH = 0o001;
const ALL_BUT_OWNER = 0o077;

/** What a file has to be protected against, besides changes by other users. */
export interface Protection {
  /**
   * The file is secret. `user`: only its owner has access. `group`: its group may read it, for keys that a service group
   * shares, and others may only if no directory above lets them in.
   */
  readonly secret?: 'user' | 'group';
  /** Any user may own the file, because the caller has named it. Default: only this user and root. */
  readonly anyOwner?: boolean;
  /** One more user that may own the file, such as the user of a program that runs in a container. */
  readonly owner?: number;
}

/** Why a file or directory is not protected, and the command that protects it. */
export interface Weakness {
  /** The part of a sentence after a colon. */
  readonly why: string;
  readonly how: string;
}

/**
 * Finds out whether other users than this one and root can change a file or directory, or read a secret one. Checks the
 * owner and mode of the file, of symbolic links, and of every directory up to the root. If the file does not exist, starts
 * at the nearest directory that exists. Does not follow links that other users own.
 *
 * Node.js cannot read access control lists. With a POSIX list, the group bits of the mode are its mask (acl(5)), so
 * entries count as access of the group. Entries of a file with a private group, and NFSv4 lists, are not seen.
 * @returns undefined if the file is protected, or cannot be inspected: then the caller cannot use it either
 */
export function weaknessOf(path: string, protection: Protection = {}): Weakness | undefined {
  try {
    return weaknessOfEntry(resolve(path), protection);
  } catch {
    return undefined;
  }
}

/** @throws SCI_FILE_UNTRUSTED if {@link weaknessOf} finds a weakness */
export function mustBeTrusted(path: string, protection: Protection = {}): void {
  const weakness = weaknessOf(path, protection);
  if (!weakness) return;
  throw new SciStreamError('SCI_FILE_UNTRUSTED', `${path} is not used: ${weakness.why}.`, {
    suggestions: [weakness.how],
  });
}

function weaknessOfEntry(path: string, protection: Protection): Weakness | undefined {
  const entry = lstatSync(path, { throwIfNoEntry: false });
  if (!entry) return dirname(path) === path ? undefined : weaknessOfDirectories(existing(dirname(path)), protection);
  if (!entry.isSymbolicLink()) {
    return weaknessOfStats(path, entry, protection) ?? weaknessOfDirectories(dirname(path), protection);
  }
  const link = foreignOwner(path, entry, protection) ?? weaknessOfDirectories(dirname(path), protection);
  // Fails for a link that leads nowhere, or to itself.
  if (link || !statSync(path, { throwIfNoEntry: false })) return link;
  return weaknessOfEntry(resolve(realpathSync(dirname(path)), readlinkSync(path)), protection);
}

/**
 * The directory, and every directory above, also of the path without symbolic links. The owner of a directory can rename
 * what is in it, in a sticky one too.
 */
function weaknessOfDirectories(directory: string, { anyOwner }: Protection): Weakness | undefined {
  const all = new Set([directory, ...ancestors(directory), ...ancestors(realpathSync(directory))]);
  for (const path of all) {
    const found = weaknessOfStats(path, statSync(path), { ...(anyOwner && { anyOwner }) });
    if (found) return found;
  }
  return undefined;
}

function weaknessOfStats(path: string, stats: Stats, protection: Protection): Weakness | undefined {
  const foreign = foreignOwner(path, stats, protection);
  // The mode of a device or socket is the choice of the host.
  if (foreign || !(stats.isFile() || stats.isDirectory())) return foreign;
  const { mode } = stats;
  const others = isPrivateGroup(stats) ? ALL_WRITE : ALL_WRITE | GROUP_WRITE;
  const replaceable = !stats.isDirectory() || (mode & STICKY) === 0;
  if ((mode & others) !== 0 && replaceable) return writable(path, mode);
  const { secret } = protection;
  const open = secret === 'user' ? ALL_BUT_OWNER : secret === 'group' ? ALL_READ : 0;
  if ((mode & open) === 0 || (secret === 'group' && !isReachable(path))) return undefined;
  return {
    why: `other users can read ${path} (mode ${octal(mode)})`,
    how: `chmod ${secret === 'user' ? 'go=' : 'o='} ${path}`,
  };
}

const writable = (path: string, mode: number): Weakness => ({
  why: `other users can write to ${path} (mode ${octal(mode)})`,
  how: `chmod go-w ${path}`,
});

function foreignOwner(path: string, { uid }: Stats, { anyOwner, owner }: Protection): Weakness | undefined {
  const own = process.geteuid?.() ?? 0;
  if (anyOwner || uid === 0 || uid === own || uid === owner || uid === unmappedUser()) return undefined;
  const how = `Use another path, or check its content and change its owner: chown -h ${own} ${path}`;
  return { why: `${path} belongs to user ${uid}`, how };
}

/** The private group of the owner, as useradd creates it, or of this user. With umask 002 its files are group-writable. */
const isPrivateGroup = ({ uid, gid }: Stats): boolean =>
  gid === uid || (gid === process.getegid?.() && gid === process.geteuid?.());

/** Whether every user may search the directories above a file. */
const isReachable = (path: string): boolean =>
  ancestors(realpathSync(path)).every((above) => (statSync(above).mode & ALL_SEARCH) !== 0);

/** The nearest directory that exists, from `path` upwards. */
const existing = (path: string): string =>
  [path, ...ancestors(path)].find((one) => statSync(one, { throwIfNoEntry: false })) ?? '/';

function ancestors(path: string): readonly string[] {
  const above = dirname(path);
  return above === path ? [] : [above, ...ancestors(above)];
}

/**
 * The owner that files of unmapped users have in a user namespace, as in an unprivileged container. Root of the host is one
 * of them.
 */
function unmappedUser(): number | undefined {
  const isMapped = /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'));
  return isMapped ? undefined : Number(readFileSync('/proc/sys/kernel/overflowuid', 'utf8'));
}

const octal = (mode: number): string => (mode & 0o7777).toString(8).padStart(4, '0');
