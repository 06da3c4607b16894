import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from './files.js';

/** Who a daemon is, made when it is first asked for: file `owner` of its state directory. One caller at a time. */
export async function ownerId(state: string): Promise<string> {
  const file = join(state, 'owner');
  const known = (await readFile(file, 'utf8').catch(() => '')).trim();
  const id = known || randomUUID();
  if (!known) await writeAtomically(file, id);
  return id;
}
