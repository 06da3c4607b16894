import { readFile, stat } from 'node:fs/promises';
import { hostname, networkInterfaces } from 'node:os';
import { dirname } from 'node:path';
import { makeDirectory, messageOf, SciStreamError, systemCode, writeAtomically } from '@scistream/core';
import { parseHostName, type AlternativeName, type Issued } from '@scistream/core/pki';

/** The files of a certificate and its key. */
export interface PairFiles {
  readonly certificate: string;
  readonly key: string;
}

/** The files of the certificate `base`: `base.crt` and `base.key`. */
export const pairFiles = (base: string): PairFiles => ({ certificate: `${base}.crt`, key: `${base}.key` });

/** A certificate file and its key file, which has the same name with the extension `.key`. */
export const pairOf = (file: string): PairFiles => ({ certificate: file, key: file.replace(/\.[^./]*$/, '') + '.key' });

/** Reads a PEM file. @throws SCI_CERTIFICATE_INVALID */
export async function readPem(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new SciStreamError(
      'SCI_CERTIFICATE_INVALID',
      `Cannot read ${file} (${systemCode(cause) ?? 'unknown error'}).`,
      { cause, suggestions: ['Check the path, and that this user can read the file.'] },
    );
  }
}

/** Reads a certificate and its key. @throws SCI_CERTIFICATE_INVALID */
export async function readPair({ certificate, key }: PairFiles): Promise<Issued> {
  return { certificate: await readPem(certificate), key: await readPem(key) };
}

/** Whether a file or directory of this name exists. */
export const exists = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  );

/** Writes a certificate (mode 0644) and its key (0600); creates missing directories with 0700. @throws SCI_USAGE */
export async function writePair(files: PairFiles, { certificate, key }: Issued): Promise<void> {
  try {
    await makeDirectory(dirname(files.key));
    await replace(files.key, key, 0o600);
    await replace(files.certificate, certificate, 0o644);
  } catch (cause) {
    throw new SciStreamError('SCI_USAGE', `Cannot write ${files.certificate}: ${messageOf(cause)}.`, {
      cause,
      suggestions: ['Use a directory that this user can write.'],
    });
  }
}

/** Replaces a file atomically. An existing file keeps its owner, so that the daemon can still read it. */
async function replace(file: string, content: string, mode: number): Promise<void> {
  const owner = await stat(file).catch(() => undefined);
  await writeAtomically(file, content, { mode, owner });
}

/** A name in a server certificate and the reason it is included. */
export interface NamedHost {
  readonly name: AlternativeName;
  readonly why: 'given' | 'name of this machine' | 'address of this machine';
}

/**
 * The names for a server certificate: the given names and, for a server on this machine, its host name. Without given
 * names, also the addresses at which other machines can reach this one.
 * @throws SCI_USAGE
 */
export function serverNames(given: readonly string[], here: boolean): readonly NamedHost[] {
  if (!here) return distinct(given.map((text) => ({ name: parseHostName(text), why: 'given' })));
  const own = hostname();
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const reachable = all.filter(({ internal, address }) => !internal && !address.startsWith('fe80:'));
  const hosts: NamedHost[] = given.map((text) => ({ name: parseHostName(text), why: 'given' }));
  try {
    hosts.push({ name: parseHostName(own), why: 'name of this machine' });
  } catch (error) {
    // The host name may not be a valid DNS name.
    if (!SciStreamError.is(error)) throw error;
  }
  if (given.length === 0) {
    hosts.push(
      ...reachable.map(({ address }) => ({ name: parseHostName(address), why: 'address of this machine' as const })),
    );
  }
  return distinct(hosts);
}

const distinct = (hosts: readonly NamedHost[]): readonly NamedHost[] =>
  hosts.filter(({ name }, i) => hosts.findIndex((other) => other.name.value === name.value) === i);

/** The names in one line, each with its reason. */
export const namesText = (names: readonly NamedHost[]): string =>
  names.map(({ name, why }) => `${name.value} (${why})`).join(', ');

/** The date in ISO form, for the expiry of a certificate. */
export const day = (date: Date): string => date.toISOString().slice(0, 10);
