import { chmod, chown, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { hostname, networkInterfaces } from 'node:os';
import { dirname } from 'node:path';
import { messageOf, SciStreamError, systemCode } from '@scistream/core';
import { parseHostName, type AlternativeName, type Issued } from '@scistream/core/pki';

/** The files of a certificate and its key. */
export interface PairFiles {
  readonly certificate: string;
  readonly key: string;
}

/** The files of a certificate called so: `x.crt` and `x.key`. */
export const pairFiles = (base: string): PairFiles => ({ certificate: `${base}.crt`, key: `${base}.key` });

/** The files that belong to a certificate: the key has the same name and ends with `.key`. */
export const pairOf = (file: string): PairFiles => ({ certificate: file, key: file.replace(/\.[^./]*$/, '') + '.key' });

/** @throws SCI_CERTIFICATE_INVALID */
export async function readPem(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new SciStreamError('SCI_CERTIFICATE_INVALID', `${file} cannot be read (${systemCode(cause) ?? 'unknown'}).`, {
      cause,
    });
  }
}

/** @throws SCI_CERTIFICATE_INVALID */
export async function readPair({ certificate, key }: PairFiles): Promise<Issued> {
  return { certificate: await readPem(certificate), key: await readPem(key) };
}

/** Whether there is a file, or directory, of this name. */
export const exists = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  );

/** Writes a new certificate (0644) and its key (0600); a directory that has to be made is 0700. @throws SCI_USAGE */
export async function writePair(files: PairFiles, { certificate, key }: Issued): Promise<void> {
  try {
    await mkdir(dirname(files.key), { recursive: true, mode: 0o700 });
    await replace(files.key, key, 0o600);
    await replace(files.certificate, certificate, 0o644);
  } catch (cause) {
    throw new SciStreamError('SCI_USAGE', `${files.certificate} cannot be written: ${messageOf(cause)}.`, { cause });
  }
}

/** Replaces a file as a whole; one that is there keeps its owner, or the daemon could not read it any more. */
async function replace(file: string, content: string, mode: number): Promise<void> {
  const old = await stat(file).catch(() => undefined);
  const temporary = `${file}.tmp`;
  await writeFile(temporary, content, { mode, flush: true });
  await chmod(temporary, mode);
  if (old && (old.uid !== process.geteuid?.() || old.gid !== process.getegid?.())) {
    await chown(temporary, old.uid, old.gid);
  }
  await rename(temporary, file);
}

/** A name for a server certificate, and why it is in it. */
export interface NamedHost {
  readonly name: AlternativeName;
  readonly why: 'given' | 'name of this machine' | 'address of this machine';
}

/**
 * The names a server certificate gets: those that were given and the name of this machine; without any given, also the
 * addresses of this machine that others can reach.
 * @throws SCI_USAGE
 */
export function serverNames(given: readonly string[]): readonly NamedHost[] {
  const own = hostname();
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const reachable = all.filter(({ internal, address }) => !internal && !address.startsWith('fe80:'));
  const hosts: NamedHost[] = given.map((text) => ({ name: parseHostName(text), why: 'given' }));
  try {
    hosts.push({ name: parseHostName(own), why: 'name of this machine' });
  } catch (error) {
    // A machine may be called what no client can type.
    if (!SciStreamError.is(error)) throw error;
  }
  if (given.length === 0) {
    hosts.push(
      ...reachable.map(({ address }) => ({ name: parseHostName(address), why: 'address of this machine' as const })),
    );
  }
  return hosts.filter(({ name }, i) => hosts.findIndex((other) => other.name.value === name.value) === i);
}

/** Names in one line, each with the reason where it is known. */
export const namesText = (names: readonly NamedHost[]): string =>
  names.map(({ name, why }) => `${name.value} (${why})`).join(', ');

/** The day a certificate ends. */
export const day = (date: Date): string => date.toISOString().slice(0, 10);
