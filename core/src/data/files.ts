import { open, rename, writeFile } from 'node:fs/promises';

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
