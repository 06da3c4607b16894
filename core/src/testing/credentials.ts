import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { Role, StreamTls } from '../s2ds.js';

const HOUR_MS = 3_600_000;
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

const NAMES: Readonly<Record<Role, string>> = { PROD: 'prod.scistream.invalid', CONS: 'cons.scistream.invalid' };

/** Credentials of both sides of a stream. */
export interface TestCredentials {
  /** Of the inbound side, the TLS server. */
  readonly PROD: StreamTls;
  /** Of the outbound side, the TLS client. */
  readonly CONS: StreamTls;
  /** Of a server that the same authority knows, by another name: not the other side of this stream. */
  readonly other: StreamTls;
}

interface Issuer {
  readonly name: string;
  readonly keys: webcrypto.CryptoKeyPair;
}

/**
 * Makes an authority of its own and a certificate for each side of a stream, ECDSA P-256, valid for an hour: what the
 * user client makes for a real stream. Two calls give credentials that do not trust each other.
 */
export async function testCredentials(): Promise<TestCredentials> {
  const authority: Issuer = { name: 'CN=authority of a test', keys: await newKeys() };
  const ca = await certify(authority, authority.name, authority.keys.publicKey, [
    new x509.BasicConstraintsExtension(true, 0, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
  ]);
  const issue = async (name: string, peer: string, usage: x509.ExtendedKeyUsage): Promise<StreamTls> => {
    const keys = await newKeys();
    const certificate = await certify(authority, `CN=${name}`, keys.publicKey, [
      new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }]),
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([usage]),
    ]);
    const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
    return { certificate, key: `${x509.PemConverter.encode(key, 'PRIVATE KEY')}\n`, ca, peer };
  };
  return {
    PROD: await issue(NAMES.PROD, NAMES.CONS, x509.ExtendedKeyUsage.serverAuth),
    CONS: await issue(NAMES.CONS, NAMES.PROD, x509.ExtendedKeyUsage.clientAuth),
    other: await issue(`other.${NAMES.PROD}`, NAMES.CONS, x509.ExtendedKeyUsage.serverAuth),
  };
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function certify(
  issuer: Issuer,
  subject: string,
  publicKey: webcrypto.CryptoKey,
  extensions: x509.Extension[],
): Promise<string> {
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject,
      issuer: issuer.name,
      notBefore: new Date(Date.now() - HOUR_MS),
      notAfter: new Date(Date.now() + HOUR_MS),
      publicKey,
      signingKey: issuer.keys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        ...extensions,
        await x509.SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto),
        await x509.AuthorityKeyIdentifierExtension.create(issuer.keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return `${certificate.toString('pem')}\n`;
}
