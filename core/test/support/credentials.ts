import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;

/** PEM files of one side, by the names the relay worker reads. */
export interface Credentials {
  readonly 'tls.crt': string;
  readonly 'tls.key': string;
  readonly 'ca.crt': string;
}

/** What differs from the certificate of a gateway. */
interface Wish {
  readonly usage?: 'serverAuth' | 'clientAuth';
  readonly expired?: boolean;
}

/** A certificate authority of one stream. */
export class Authority {
  private constructor(
    private readonly certificate: x509.X509Certificate,
    private readonly keys: webcrypto.CryptoKeyPair,
  ) {}

  static async make(): Promise<Authority> {
    const keys = await generate();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: 'CN=stream',
      keys,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(Date.now() - 2 * DAY_MS),
      notAfter: new Date(Date.now() + DAY_MS),
      extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
    });
    return new Authority(certificate, keys);
  }

  /** Credentials of a gateway with this DNS name. */
  async issue(name: string, { usage, expired = false }: Wish = {}): Promise<Credentials> {
    const keys = await generate();
    const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
    const usages = usage ? [x509.ExtendedKeyUsage[usage]] : [serverAuth, clientAuth];
    const certificate = await x509.X509CertificateGenerator.create({
      subject: `CN=${name}`,
      issuer: this.certificate.subject,
      publicKey: keys.publicKey,
      signingKey: this.keys.privateKey,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(Date.now() - 2 * DAY_MS),
      notAfter: new Date(Date.now() + (expired ? -DAY_MS : DAY_MS)),
      extensions: [
        new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }]),
        new x509.ExtendedKeyUsageExtension(usages),
      ],
    });
    const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
    return {
      'tls.crt': certificate.toString('pem'),
      'tls.key': `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n`,
      'ca.crt': this.certificate.toString('pem'),
    };
  }
}

function generate(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}
