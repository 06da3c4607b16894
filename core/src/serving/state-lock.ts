import { randomUUID } from 'node:crypto';
import { link, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, SciStreamError, systemCode } from '../contracts/errors.js';
import { makeDirectory } from '../contracts/files.js';
import { identify, isAlive, type ProcessIdentity } from '../contracts/process-identity.js';

/**
 * Makes the state directory (0700) this process's own. The lock of a process that no longer lives is taken over, by one
 * of those that try at the same time.
 * @returns What gives the directory free again. Idempotent.
 * @throws SCI_STATE_LOCKED while another daemon uses it; SCI_CONFIG_INVALID when it cannot be written.
 */
export async function lockState(directory: string): Promise<() => Promise<void>> {
  const path = join(directory, 'lock');
  // Linked into place when it is complete, so that nobody ever reads half a lock.
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
    throw new SciStreamError('SCI_CONFIG_INVALID', `state: cannot use ${directory}: ${messageOf(error)}.`, {
      cause: error,
      suggestions: ['Set the key state (or --state) to a directory that you can write to.'],
    });
  }
  let released: Promise<void> | undefined;
  return () => (released ??= rm(path, { force: true }));
}

/** Removes the lock of a dead process. Only who holds the ticket may, and looks again: another may have been quicker. */
async function removeIfStale(directory: string, path: string, own: string): Promise<void> {
  const owner = await ownerOf(path);
  if (owner && owner !== 'dead') {
    throw new SciStreamError(
      'SCI_STATE_LOCKED',
      `Process ${owner.pid} already uses the state directory ${directory}.`,
      {
        suggestions: ['Stop that process first, or use another directory: --state DIR'],
      },
    );
  }
  const ticket = `${path}.takeover`;
  if (!(await linked(own, ticket))) {
    if ((await ownerOf(ticket)) === 'dead') await rm(ticket, { force: true });
    return;
  }
  try {
    if ((await ownerOf(path)) === 'dead') await rm(path, { force: true });
  } finally {
    await rm(ticket, { force: true });
  }
}

/** Gives a file a second name, atomically. False when that name is taken. */
async function linked(file: string, name: string): Promise<boolean> {
  try {
    await link(file, name);
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** Whose lock it is; undefined when there is none, `dead` when its process is gone or the file says nothing. */
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
