import { createHash } from 'node:crypto';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { SciStreamError, systemCode, weaknessOf, writeAtomically } from '@scistream/core';

/** The file of the plugin folder that holds the digest of its packages. */
const RECORD = 'integrity';
/** A file that npm writes for itself. */
const OF_NPM = '.package-lock.json';

/** Records the packages of a plugin folder as they are now. */
export async function recordIntegrity(home: string): Promise<void> {
  await writeAtomically(join(home, RECORD), `${(await digestOf(home)) ?? ''}\n`);
}

/**
 * Checks that the packages of a plugin folder are those that were installed, and that no other user can change them. One
 * digest covers all plugins and their dependencies.
 * @returns SCI_FILE_UNTRUSTED, SCI_PLUGIN_CHANGED; undefined if nothing is installed or nothing has changed
 */
export async function integrityError(home: string): Promise<SciStreamError | undefined> {
  const packages = join(home, 'node_modules');
  const weakness = weaknessOf(packages) ?? weaknessOf(join(home, 'package.json'));
  if (weakness) {
    const message = `The plugins in ${home} are not used: ${weakness.why}.`;
    return new SciStreamError('SCI_FILE_UNTRUSTED', message, { suggestions: [weakness.how] });
  }
  const recorded = await orNothing(readFile(join(home, RECORD), 'utf8'));
  const now = await digestOf(home);
  if (now === undefined || recorded?.trim() === now) return undefined;
  return new SciStreamError('SCI_PLUGIN_CHANGED', `The plugins in ${home} are not those that were installed.`, {
    suggestions: [`Find out what has changed them. Then remove ${home} and install the plugins again.`],
  });
}

/**
 * SHA-256 over the list of plugins, the paths and contents of all files of packages, and the targets of links. Undefined if
 * the folder is empty. @throws the error of `node:fs`
 */
async function digestOf(home: string): Promise<string | undefined> {
  const root = join(home, 'node_modules');
  const list = await orNothing(readFile(join(home, 'package.json')));
  const entries = await orNothing(readdir(root, { recursive: true, withFileTypes: true }));
  if (!list && !entries) return undefined;
  const hash = createHash('sha256')
    .update(list ?? '')
    .update('\n');
  const files = (entries ?? []).filter((entry) => !entry.isDirectory() && entry.name !== OF_NPM);
  const paths = files.map((entry) => ({ entry, path: join(entry.parentPath, entry.name) }));
  for (const { entry, path } of paths.toSorted((a, b) => (a.path < b.path ? -1 : 1))) {
    const content = entry.isSymbolicLink() ? await readlink(path) : await readFile(path);
    const kind = entry.isSymbolicLink() ? 'link' : 'file';
    hash.update(`${JSON.stringify([kind, path.slice(root.length), content.length])}\n`).update(content);
  }
  return `sha256:${hash.digest('hex')}`;
}

async function orNothing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
