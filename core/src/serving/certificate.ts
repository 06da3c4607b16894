import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { messageOf, SciStreamError, systemCode } from '../contracts/errors.js';
import { makeDirectory, writeAtomically } from '../contracts/files.js';
import { adviceFor, onState } from '../contracts/system-errors.js';
import { mustBeTrusted } from '../contracts/trust.js';
import { certify, hostName, keyPem, newKeys } from '../pki/certify.js';

const DAY_MS = 86_400_000;
const VALID_DAYS = 3650;

/** A certificate and its key in PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/**
 * Reads a certificate and its key, and checks that TLS accepts them.
 * @throws SCI_CONFIG_INVALID naming the file; SCI_FILE_UNTRUSTED
 */
export async function readKeyPair(files: { readonly cert: string; readonly key: string }): Promise<KeyPair> {
  mustBeTrusted(files.cert);
  mustBeTrusted(files.key, { secret: 'group' });
  const read = (key: 'cert' | 'key'): Promise<string> =>
    readFile(files[key], 'utf8').catch((error: unknown) => {
      throw new SciStreamError('SCI_CONFIG_INVALID', `tls.${key}: ${messageOf(error)}.`, {
        cause: error,
        suggestions: [`Check that ${files[key]} exists and that the daemon can read it.`],
      });
    });
  const pair = { cert: await read('cert'), key: await read('key') };
  try {
    new X509Certificate(pair.cert);
  } catch (error) {
    throw new SciStreamError('SCI_CONFIG_INVALID', `tls.cert: ${files.cert} is not a PEM certificate.`, {
      cause: error,
      suggestions: ['scistream cert init creates a certificate and its key as PEM files.'],
    });
  }
  if (!belongsTogether(pair)) {
    throw new SciStreamError('SCI_CONFIG_INVALID', `tls.key: ${files.key} is not the key of ${files.cert}.`, {
      suggestions: ['Use the unencrypted PEM key of this certificate.'],
    });
  }
  try {
    createSecureContext(pair);
  } catch (error) {
    throw new SciStreamError('SCI_CONFIG_INVALID', `tls.cert: ${files.cert} is not usable: ${messageOf(error)}.`, {
      cause: error,
      suggestions: ['Remove tls to use a self-signed certificate, whose fingerprint is printed at the start.'],
    });
  }
  return pair;
}

function belongsTogether({ cert, key }: KeyPair): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

/**
 * Returns the certificate of a server without a configured one. It is created once and stored in `directory` (key
 * 0600). It is valid for ten years, and for the host name, the loopback addresses and `hosts`: other addresses of this
 * host would tell strangers about its networks. Clients trust its fingerprint or its file.
 */
export async function selfSigned(directory: string, hosts: readonly string[]): Promise<KeyPair> {
  const files = { cert: join(directory, 'server.crt'), key: join(directory, 'server.key') };
  mustBeTrusted(files.cert);
  mustBeTrusted(files.key, { secret: 'user' });
  try {
    const known = { cert: await readFile(files.cert, 'utf8'), key: await readFile(files.key, 'utf8') };
    if (Date.parse(new X509Certificate(known.cert).validTo) > Date.now() + DAY_MS) return known;
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') {
      throw new SciStreamError('SCI_CONFIG_INVALID', `${files.cert} is not usable: ${messageOf(error)}.`, {
        cause: error,
        suggestions: [
          systemCode(error)
            ? adviceFor(files.cert, error)
            : `Remove ${directory} to create a new certificate, which has another fingerprint.`,
        ],
      });
    }
  }
  const made = make(hosts);
  await onState('create', directory, () => makeDirectory(directory));
  for (const name of ['key', 'cert'] as const) {
    await onState('write', files[name], () => writeAtomically(files[name], made[name]));
  }
  return made;
}

/** The certificate is a CA and a server certificate, because existing clients trust it as a root. */
function make(hosts: readonly string[]): KeyPair {
  const keys = newKeys();
  const cert = certify({
    name: hostname().slice(0, 64),
    keys,
    authority: true,
    purposes: ['server'],
    alternativeNames: ownNames(hosts).map(hostName),
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + VALID_DAYS * DAY_MS),
  });
  return { cert, key: keyPem(keys) };
}

function ownNames(hosts: readonly string[]): readonly string[] {
  const names = new Set([hostname(), ...hosts, 'localhost', '127.0.0.1', '::1']);
  return [...names].filter((name) => name !== '0.0.0.0' && name !== '::');
}
