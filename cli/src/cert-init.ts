import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { makeDirectory, SciStreamError } from '@scistream/core';
import {
  describeCertificate,
  issue,
  makeAuthority,
  parseCertificate,
  type Issued,
  type IssueWish,
} from '@scistream/core/pki';
import { day, exists, namesText, pairFiles, readPair, serverNames, writePair, type NamedHost } from './cert-files.js';

/** The arguments of `cert init`. */
export interface InitWish {
  readonly dir: string;
  /** Base name of the server's files. */
  readonly server: string;
  readonly names: readonly string[];
  /** Whether the server runs on this machine, whose names are then added. */
  readonly here: boolean;
  readonly clients: readonly string[];
  readonly days?: number | undefined;
}

/** One certificate of the directory. */
interface Made {
  readonly kind: 'ca' | 'server' | 'client';
  readonly certificate: string;
  readonly key: string;
  /** Whether this run created it. */
  readonly made: boolean;
  readonly names: readonly string[];
  readonly validTo: Date;
  readonly fingerprint: string;
}

/** Creates the missing certificates. @returns all certificates, as text and JSON. @throws SCI_USAGE, SCI_CERTIFICATE_INVALID */
export async function initialise(wish: InitWish): Promise<{ readonly text: string; readonly result: object }> {
  // Parse the names first: a mistake in them must not leave files behind.
  const hosts = serverNames(wish.names, wish.here);
  await makeDirectory(wish.dir);
  const signer = await authority(wish.dir);
  const signed = await server(signer.pair, wish, hosts);
  const clients = [];
  for (const name of wish.clients) clients.push(await client(signer.pair, wish, name));
  const all = [signer.made, signed, ...clients];
  const notes = [...all.map((one) => line(one, hosts)), ...advice(signer.made, signed)];
  return { text: notes.join('\n'), result: { directory: wish.dir, certificates: all } };
}

async function authority(dir: string): Promise<{ readonly pair: Issued; readonly made: Made }> {
  const files = pairFiles(join(dir, 'ca'));
  const known = await exists(files.certificate);
  // Clients confuse two authorities of the same name.
  const name = `SciStream CA ${hostname().slice(0, 40)} ${randomBytes(3).toString('hex')}`;
  const pair = known ? await readPair(files) : makeAuthority(name);
  if (!known) await writePair(files, pair);
  return { pair, made: facts('ca', files, pair, !known) };
}

async function server(
  ca: Issued,
  { dir, server: base, names, days }: InitWish,
  hosts: readonly NamedHost[],
): Promise<Made> {
  const files = pairFiles(join(dir, base));
  const alternativeNames = hosts.map(({ name }) => name);
  if (await exists(files.certificate)) {
    const made = facts('server', files, await readPair(files), false);
    const missing = hosts.filter(({ name, why }) => why === 'given' && !made.names.includes(name.value));
    if (names.length === 0 || missing.length === 0) return made;
    throw new SciStreamError(
      'SCI_USAGE',
      `${files.certificate} already exists and does not cover ${missing.map(({ name }) => name.value).join(', ')}.`,
      { suggestions: [`rm ${files.certificate} ${files.key}`, 'Or create a second server certificate: --server NAME'] },
    );
  }
  const [name] = alternativeNames;
  if (!name) {
    throw new SciStreamError('SCI_USAGE', 'A server certificate needs at least one DNS name or IP address.', {
      suggestions: ['scistream cert init s2cs.aps.example 203.0.113.10'],
    });
  }
  return await sign('server', ca, files, { name: name.value, purposes: ['server'], alternativeNames, days });
}

async function client(ca: Issued, { dir, days }: InitWish, name: string): Promise<Made> {
  const files = pairFiles(join(dir, name));
  if (await exists(files.certificate)) return facts('client', files, await readPair(files), false);
  return await sign('client', ca, files, { name, purposes: ['client'], days });
}

async function sign(
  kind: Made['kind'],
  ca: Issued,
  files: ReturnType<typeof pairFiles>,
  wish: IssueWish,
): Promise<Made> {
  const pair = issue(ca, wish);
  await writePair(files, pair);
  return facts(kind, files, pair, true);
}

function facts(kind: Made['kind'], files: ReturnType<typeof pairFiles>, pair: Issued, made: boolean): Made {
  const found = describeCertificate(parseCertificate(pair.certificate, files.certificate));
  const names = kind === 'server' ? found.alternativeNames.map(({ value }) => value) : [found.subject];
  return { kind, ...files, made, names, validTo: found.validTo, fingerprint: found.fingerprint };
}

function line({ kind, certificate, made, names, validTo }: Made, hosts: readonly NamedHost[]): string {
  const until = `valid until ${day(validTo)}${made ? '' : ', unchanged'}`;
  if (kind === 'ca') return `${certificate}  CA ${names.join('')}, ${until}`;
  if (kind === 'client') return `${certificate}  client ${names.join('')}, ${until}`;
  const reasons = made ? namesText(hosts) : names.join(', ');
  return `${certificate}  server for ${reasons}; ${until}`;
}

function advice(ca: Made, { certificate, key, names }: Made): readonly string[] {
  return [
    '',
    `Clients accept the server only under these names: ${names.join(', ')}.`,
    `If s2cs is the server:  tls: { cert: ${certificate}, key: ${key} }`,
    `                        users set facilities.NAME.ca to a copy of ${ca.certificate}`,
    `If s2ds is the server:  tls: { cert: ${certificate}, key: ${key}, clientCa: ${ca.certificate} }`,
    `                        s2cs sets gateways[].tls with ${ca.certificate} and a certificate of --client`,
    `${ca.key} can sign certificates for any server or client. Keep it private, preferably on another machine.`,
  ];
}
