import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../contracts/errors.js';
import { writeAtomically } from '../contracts/files.js';
import { onState, stateError } from '../contracts/system-errors.js';

/** The state file of the id. It is called owner because earlier versions wrote it under that name. */
const FILE = 'owner';

/**
 * Id of a daemon, made at the first call and kept in its state directory. Calls must not overlap.
 * @throws SCI_STATE_WRITE, also when the file exists and cannot be read: under a new id, no daemon would find the
 * instances of the old one.
 */
export async function serverId(state: string): Promise<string> {
  const file = join(state, FILE);
  const known = (await readIfPresent(file)).trim();
  const id = known || randomUUID();
  if (!known) await onState('write', file, () => writeAtomically(file, id));
  return id;
}

/** The text of a file of the state directory; empty when it does not exist. @throws SCI_STATE_WRITE */
export async function readIfPresent(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return '';
    throw stateError('read', file, error);
  }
}
