import { mkdir, open, rename, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemCode } from './errors.js';

/**
 * Makes a directory (0700) and those above it, where they do not exist. Unlike the recursion of Node.js it ends where a
 * file system says that something does not exist though its parent does, as /proc.
 * @throws What the system says.
 */
export async function makeDirectory(path: string): Promise<void> {
  const make = (): Promise<void> => mkdir(path, { mode: 0o700 });
  try {
    await make();
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EEXIST' && (await isDirectory(path))) return;
    const parent = dirname(path);
    if (code !== 'ENOENT' || parent === path || (await isDirectory(parent))) throw error;
    await makeDirectory(parent);
    // Somebody else may have been quicker.
    await make().catch(async (late: unknown) => {
      if (systemCode(late) !== 'EEXIST' || !(await isDirectory(path))) throw late;
    });
  }
}

/** False, too, where nothing is, or cannot be looked at. */
const isDirectory = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

/** Writes a file (0600) as a whole: who reads it sees the old content or the new one. One writer per path at a time. */
export async function writeAtomically(path: string, content: string): Promise<void> {
  const temporary = `${path}.tmp`;
  // Flushed, or a power loss after the renaming may leave an empty file.
  await writeFile(temporary, content, { mode: 0o600, flush: true });
  await rename(temporary, path);
}

/** The last `bytes` of a file, however long it has become. */
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
