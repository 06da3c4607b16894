import { randomUUID } from 'node:crypto';
import { link, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, SciStreamError, systemCode } from '../contracts/errors.js';
import { makeDirectory } from '../contracts/files.js';
import { identify, isAlive, type ProcessIdentity } from '../contracts/process-identity.js';

/**
 * Creates the state directory (0700) and locks it for this process. A stale lock of a dead process is replaced; of
 * several processes that try at the same time, one succeeds.
 * @returns A function that unlocks the directory. Idempotent.
 * @throws SCI_STATE_LOCKED while another daemon uses the directory; SCI_CONFIG_INVALID when it is not writable
 */
export async function lockState(directory: string): Promise<() => Promise<void>> {
  const path = join(directory, 'lock');
  // The file is linked into place when it is complete, so that no process reads a partial lock.
  const own = `${path}.${randomUUID()}`;
  try {
    await makeDirectory(directory);
    await writeFile(own, JSON.stringify(await identify(process.pid)), { flag: 'wx', mode: 0o600 });
    try {
      while (!(await linked(own, path))) await removeIfStale(directory, path, own);
    } finally {
      await rm(own, { force: true });
    }
  } catch (error) {
    if (SciStreamError.is(error)) throw error;
    throw new SciStreamError('SCI_CONFIG_INVALID', `state: ${directory} is not usable: ${messageOf(error)}.`, {
      cause: error,
      suggestions: ['Set the key state (or --state) to a writable directory.'],
    });
  }
  let released: Promise<void> | undefined;
  return () => (released ??= rm(path, { force: true }));
}

/**
 * Removes the lock of a dead process. A second lock file serialises this, and its holder checks the first one again.
 */
async function removeIfStale(directory: string, path: string, own: string): Promise<void> {
  const owner = await ownerOf(path);
  if (owner && owner !== 'dead') {
    throw new SciStreamError(
      'SCI_STATE_LOCKED',
      `Process ${owner.pid} already uses the state directory ${directory}.`,
      {
        suggestions: ['Stop that process, or use another directory: --state DIR'],
      },
    );
  }
  const guard = `${path}.takeover`;
  if (!(await linked(own, guard))) {
    if ((await ownerOf(guard)) === 'dead') await rm(guard, { force: true });
    return;
  }
  try {
    if ((await ownerOf(path)) === 'dead') await rm(path, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

/** Links a file to a second name, atomically. @returns False if that name exists. */
async function linked(file: string, name: string): Promise<boolean> {
  try {
    await link(file, name);
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** The process of a lock; undefined without a lock, `dead` when the process has ended or the file is invalid. */
async function ownerOf(path: string): Promise<ProcessIdentity | 'dead' | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  const owner = parse(text);
  return owner && (await isAlive(owner)) ? owner : 'dead';
}

function parse(text: string): ProcessIdentity | undefined {
  try {
    const value = JSON.parse(text) as Partial<ProcessIdentity>;
    return typeof value.pid === 'number' && typeof value.startTime === 'string'
      ? { pid: value.pid, startTime: value.startTime }
      : undefined;
  } catch {
    return undefined;
  }
}
