import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeDirectory, SciStreamError, systemCode, writeAtomically } from '@scistream/core';
import { parseDocument } from 'yaml';

/** A facility as `scistream facility add` writes it. Paths are absolute. */
export interface NewFacility {
  readonly s2cs: string;
  readonly ca?: string;
  readonly fingerprint?: string;
  readonly token?: { readonly file: string } | { readonly env: string };
}

/**
 * Adds a facility to a configuration file, and keeps everything else in it, with its comments. Creates the file with mode
 * 0600.
 * @throws SCI_USAGE if the file cannot be written
 */
export async function writeFacility(file: string, name: string, facility: NewFacility): Promise<void> {
  try {
    const [text, mode] = await existing(file);
    const document = parseDocument(text);
    document.setIn(['facilities', name], document.createNode(facility));
    await makeDirectory(dirname(file));
    const json = `${JSON.stringify(document.toJS(), undefined, 2)}\n`;
    await writeAtomically(file, file.endsWith('.json') ? json : document.toString({ lineWidth: 0 }), { mode });
  } catch (cause) {
    if (!systemCode(cause)) throw cause;
    throw new SciStreamError('SCI_USAGE', `Cannot write ${file} (${systemCode(cause)}).`, {
      cause,
      suggestions: ['Choose another file: --config FILE'],
    });
  }
}

/** Text and mode of a file; those of a new one if it does not exist. */
async function existing(file: string): Promise<readonly [text: string, mode: number]> {
  try {
    return [await readFile(file, 'utf8'), (await stat(file)).mode & 0o777];
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return ['', 0o600];
    throw error;
  }
}
