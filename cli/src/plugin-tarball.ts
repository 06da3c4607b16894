import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { messageOf } from '@scistream/core';
import { failed } from './plugin-errors.js';

/** Size of the unpacked files of a plugin, bytes. */
const MAX_UNPACKED = 256 * 1024 * 1024;
const BLOCK = 512;

/**
 * Checks a packed plugin before any other file of it is unpacked.
 * @param tarball Path, as `npm pack` creates it.
 * @param accept Gets a temporary folder with the package.json only; throws to reject the plugin.
 * @throws SCI_PLUGIN_INSTALL_FAILED, the errors of `accept`
 */
export async function checkPacked(tarball: string, accept: (root: string) => Promise<void>): Promise<void> {
  const content = packageJson(await readFile(tarball));
  const root = await mkdtemp(join(tmpdir(), 'scistream-plugin-'));
  try {
    await writeFile(join(root, 'package.json'), content);
    await accept(root);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** The package.json of a tarball, in the format of `tar(5)`. Of several, the last one, which npm would keep. */
function packageJson(tarball: Buffer): Buffer {
  let found: Buffer | undefined;
  for (const { name, content } of entries(unpacked(tarball))) if (/^[^/]+\/package\.json$/.test(name)) found = content;
  if (!found) throw failed('The package is not usable', 'it has no package.json');
  return found;
}

function unpacked(tarball: Buffer): Buffer {
  try {
    return gunzipSync(tarball, { maxOutputLength: MAX_UNPACKED });
  } catch (error) {
    throw failed('The package is not usable', messageOf(error));
  }
}

function* entries(tar: Buffer): Generator<{ readonly name: string; readonly content: Buffer }> {
  for (let at = 0; at + BLOCK <= tar.length;) {
    const header = tar.subarray(at, at + BLOCK);
    const text = (from: number, length: number): string =>
      header.toString('utf8', from, from + length).replace(/\0.*$/s, '');
    const size = Number.parseInt(text(124, 12).trim() || '0', 8);
    if (!(size >= 0)) throw failed('The package is not usable', 'its tarball is damaged');
    const prefix = text(345, 155);
    const isFile = text(156, 1) === '0' || text(156, 1) === '';
    const begin = at + BLOCK;
    if (isFile) yield { name: `${prefix && `${prefix}/`}${text(0, 100)}`, content: tar.subarray(begin, begin + size) };
    at = begin + Math.ceil(size / BLOCK) * BLOCK;
  }
}
