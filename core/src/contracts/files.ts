import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemCode } from './errors.js';
import { mustBeTrusted } from './trust.js';

/**
 * Creates a directory and its missing parents, mode 0700. Replaces `mkdir` with `recursive`, which never returns where
 * mkdir(2) fails with ENOENT in a directory that exists, as below /proc. An existing directory must be protected, because
 * another user may have created it first.
 * @param owner One more user that may own it already
 * @throws the system error; SCI_FILE_UNTRUSTED
 */
export async function makeDirectory(path: string, owner?: number): Promise<void> {
  await createDirectories(path);
  mustBeTrusted(path, { ...(owner !== undefined && { owner }) });
}

async function createDirectories(path: string): Promise<void> {
  const parent = dirname(path);
  try {
    await createDirectory(path);
    return;
  } catch (error) {
    if (systemCode(error) !== 'ENOENT' || parent === path) throw error;
  }
  if (!(await isDirectory(parent))) await createDirectories(parent);
  // Also if the parent exists: it may have been created since the first attempt.
  await createDirectory(path);
}

/** Creates one directory, unless it exists. */
async function createDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (systemCode(error) !== 'EEXIST' || !(await isDirectory(path))) throw error;
  }
}

/** Also false if nothing exists at the path, or stat(2) fails. */
const isDirectory = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

/** Access of {@link writeAtomically}. */
export interface FileAccess {
  /** Permissions; default 0600, reduced by the umask. Given permissions are set exactly. */
  readonly mode?: number | undefined;
  /** Default: the user and group of this process. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
}

/**
 * Replaces a file atomically: readers see the old or the new content, also with several writers. Safe in a directory of
 * another user: a symbolic link there redirects neither the content nor the change of owner.
 * @throws the system error, after which the old file is unchanged
 */
export async function writeAtomically(path: string, content: string, access: FileAccess = {}): Promise<void> {
  const { mode, owner } = access;
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      if (owner) await file.chown(owner.uid, owner.gid);
      if (mode !== undefined) await file.chmod(mode);
      await file.writeFile(content);
      // Without it, a power loss after the rename may leave an empty file.
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Reads the last `bytes` bytes of a file as UTF-8. */
export async function readTail(path: string, bytes: number): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const tail = Buffer.alloc(Math.min(size, bytes));
    const { bytesRead } = await file.read(tail, 0, tail.length, size - tail.length);
    return tail.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
