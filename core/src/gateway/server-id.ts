import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../contracts/errors.js';
import { writeAtomically } from '../contracts/files.js';

/** Who a daemon is, made when it is first asked for: file `owner` of its state directory. One caller at a time. */
export async function ownerId(state: string): Promise<string> {
  const file = join(state, 'owner');
  const known = (await readIfThere(file)).trim();
  const id = known || randomUUID();
  if (!known) await writeAtomically(file, id);
  return id;
}

/** Only a file that is not there is none: another id would leave all that runs under this one to nobody. */
async function readIfThere(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return '';
    throw error;
  }
}
