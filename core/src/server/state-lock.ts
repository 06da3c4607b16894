import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, SciStreamError, systemCode } from '../errors.js';
import { identify, isAlive, type ProcessIdentity } from '../data/proc.js';

/**
 * Makes the state directory (0700) this process's own. The lock of a process that no longer lives is taken over.
 * @returns What gives the directory free again.
 * @throws SCI_STATE_LOCKED while another daemon uses it; SCI_CONFIG_INVALID when it cannot be written.
 */
export async function lockState(directory: string): Promise<() => Promise<void>> {
  const path = join(directory, 'lock');
  const me = await identify(process.pid);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (;;) {
      try {
        await writeFile(path, JSON.stringify(me), { flag: 'wx', mode: 0o600 });
        return () => rm(path, { force: true });
      } catch (error) {
        if (systemCode(error) !== 'EEXIST') throw error;
        await removeIfStale(directory, path);
      }
    }
  } catch (error) {
    if (SciStreamError.is(error)) throw error;
    throw new SciStreamError('SCI_CONFIG_INVALID', `state: cannot use ${directory}: ${messageOf(error)}.`, {
      cause: error,
      suggestions: ['Set the key state (or --state) to a directory that you may write to.'],
    });
  }
}

async function removeIfStale(directory: string, path: string): Promise<void> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const owner = parse(text);
  if (owner && (await isAlive(owner))) {
    throw new SciStreamError(
      'SCI_STATE_LOCKED',
      `Process ${owner.pid} uses the state directory ${directory} already.`,
      {
        suggestions: ['Stop it first, or give this daemon another directory: --state DIR'],
      },
    );
  }
  await rm(path, { force: true });
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
