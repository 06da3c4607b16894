import { createHash, X509Certificate } from 'node:crypto';
import { certify, hostName, keyPem, newKeys } from '@scistream/core/pki';

const DAY_MS = 86_400_000;

/** A self-signed certificate and its key, as PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** Creates a certificate for 127.0.0.1. */
export async function makeCertificate(): Promise<Certificate> {
  const keys = newKeys();
  const cert = certify({
    name: 'janus',
    keys,
    authority: true,
    purposes: ['server'],
    alternativeNames: [hostName('127.0.0.1')],
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
  });
  return { cert, key: keyPem(keys) };
}

/** SHA-256 of a certificate in the form of the option `fingerprint`. */
export const fingerprintOf = ({ cert }: Certificate): string =>
  `sha256:${createHash('sha256').update(new X509Certificate(cert).raw).digest('hex')}`;
