import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { SciStreamError } from '../contracts/errors.js';
import { formatCount } from '../contracts/units.js';
import { hostName, type AlternativeName, type Purpose } from './certify.js';

const DAY_MS = 86_400_000;
/** Certificates that expire within this time cause a warning, days. */
const SOON_DAYS = 30;
const MIN_RSA_BITS = 2048;
/** RFC 5280 section 4.2.1.12; `anyExtendedKeyUsage` counts as both. */
const PURPOSE_IDS: Readonly<Record<Purpose, string>> = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' };
const ANY_PURPOSE = '2.5.29.37.0';

/** Facts of a certificate for people. */
export interface CertificateFacts {
  /** Common name, or the complete subject if it has no common name. */
  readonly subject: string;
  readonly issuer: string;
  readonly alternativeNames: readonly AlternativeName[];
  readonly validFrom: Date;
  readonly validTo: Date;
  /** `sha256:` and 64 hexadecimal digits. */
  readonly fingerprint: string;
  readonly authority: boolean;
  /** Both if the certificate names none, unless it is an authority. */
  readonly purposes: readonly Purpose[];
}

/** A present or future problem of a certificate. */
export interface CertificateFlaw {
  readonly level: 'problem' | 'warning';
  readonly message: string;
  readonly suggestions: readonly string[];
}

/** Requirements for a certificate. */
export interface Expectations {
  readonly now?: Date;
  /** Default: the purpose of the certificate. */
  readonly use?: Purpose | 'authority' | undefined;
  /** A name that clients use, without port. */
  readonly host?: string | undefined;
  /** The authority that should have signed it. */
  readonly ca?: X509Certificate | undefined;
  /** PEM of its expected key. */
  readonly key?: string | undefined;
}

/** Parses a certificate in PEM. @param what Name of the file in the error @throws SCI_CERTIFICATE_INVALID */
export function parseCertificate(pem: string, what: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new SciStreamError('SCI_CERTIFICATE_INVALID', `${what} is not a PEM certificate.`, {
      cause,
      suggestions: ['The file must begin with -----BEGIN CERTIFICATE-----.'],
    });
  }
}

/** SHA-256 of the certificate's DER form: `sha256:` and 64 hexadecimal digits. */
export const fingerprintOf = (certificate: X509Certificate): string =>
  `sha256:${createHash('sha256').update(certificate.raw).digest('hex')}`;

/** The common name of the subject, if there is exactly one. */
export function commonNameOf(certificate: X509Certificate): string | undefined {
  const name: unknown = certificate.toLegacyObject().subject?.CN;
  return typeof name === 'string' ? name : undefined;
}

/**
 * The alternative names that are DNS names, IP addresses or URIs, in their order. Node.js writes ambiguous values as
 * JSON strings (CVE-2021-44532).
 */
export function alternativeNamesOf({ subjectAltName = '' }: X509Certificate): readonly AlternativeName[] {
  const names: AlternativeName[] = [];
  for (const [, label = '', quoted, plain = ''] of subjectAltName.matchAll(
    /([^:,]+):(?:("(?:[^"\\]|\\.)*")|([^,]*))(?:, |$)/gy,
  )) {
    const value = quoted === undefined ? plain : String(JSON.parse(quoted));
    if (label === 'IP Address') names.push(hostName(value));
    else if (label === 'DNS' || label === 'URI') names.push({ type: label === 'DNS' ? 'dns' : 'uri', value });
  }
  return names;
}

/** Purposes named in a certificate. */
function purposesOf(certificate: X509Certificate): readonly Purpose[] {
  // `keyUsage` of Node.js is the extended key usage: object identifiers.
  const ids = certificate.keyUsage as readonly string[] | undefined;
  if (!ids) return certificate.ca ? [] : ['server', 'client'];
  return (['server', 'client'] as const).filter((purpose) =>
    [PURPOSE_IDS[purpose], ANY_PURPOSE].some((id) => ids.includes(id)),
  );
}

/** Describes a certificate for people. */
export function describeCertificate(certificate: X509Certificate): CertificateFacts {
  return {
    subject: commonNameOf(certificate) ?? certificate.subject,
    issuer: certificate.issuer.replace(/^CN=(.*)$/s, '$1').replaceAll('\n', ', '),
    alternativeNames: alternativeNamesOf(certificate),
    validFrom: new Date(certificate.validFrom),
    validTo: new Date(certificate.validTo),
    fingerprint: fingerprintOf(certificate),
    authority: certificate.ca,
    purposes: purposesOf(certificate),
  };
}

/** Flaws of a certificate for its intended use. Empty if it has none. */
export function flawsOf(certificate: X509Certificate, expected: Expectations = {}): readonly CertificateFlaw[] {
  const facts = describeCertificate(certificate);
  const use = expected.use ?? (facts.purposes[0] || 'authority');
  return [
    ...validity(facts, expected.now ?? new Date()),
    ...(use === 'authority' ? authorityFlaws(facts) : peerFlaws(facts, use)),
    ...(use === 'server' ? serverFlaws(certificate, facts, expected.host) : []),
    ...strength(certificate),
    ...(expected.ca ? signature(certificate, expected.ca) : []),
    ...(expected.key === undefined || keyBelongs(certificate, expected.key)
      ? []
      : [problem('The key does not belong to this certificate.', 'Use the unencrypted PEM key of the certificate.')]),
  ];
}

/** Whether a PEM key is unencrypted and belongs to the certificate. */
export function keyBelongs(certificate: X509Certificate, key: string): boolean {
  try {
    return certificate.checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

const problem = (message: string, ...suggestions: string[]): CertificateFlaw => ({
  level: 'problem',
  message,
  suggestions,
});
const warning = (message: string, ...suggestions: string[]): CertificateFlaw => ({
  level: 'warning',
  message,
  suggestions,
});

function validity({ validFrom, validTo }: CertificateFacts, now: Date): readonly CertificateFlaw[] {
  if (validTo < now) return [problem(`It expired at ${validTo.toISOString()}.`, 'scistream cert renew FILE')];
  if (validFrom > now) {
    return [problem(`It is not valid before ${validFrom.toISOString()}.`, 'Check the clock of this machine.')];
  }
  const days = Math.floor((validTo.getTime() - now.getTime()) / DAY_MS);
  if (days >= SOON_DAYS) return [];
  return [
    warning(`It expires in ${formatCount(days, 'day')}, at ${validTo.toISOString()}.`, 'scistream cert renew FILE'),
  ];
}

const authorityFlaws = ({ authority }: CertificateFacts): readonly CertificateFlaw[] =>
  authority
    ? []
    : [problem('It is not an authority, so the certificates it signed are rejected.', 'Use the file of the CA.')];

function peerFlaws({ authority, purposes }: CertificateFacts, use: Purpose): readonly CertificateFlaw[] {
  if (authority && purposes.length === 0) {
    const make = 'Create a certificate signed by it: scistream cert init';
    return [problem(`It is an authority, not a ${use} certificate.`, make)];
  }
  const both =
    'It is both an authority and a server. Peers that trust it as a CA trust everything signed with its key.';
  return [
    ...(authority ? [warning(both, 'Trust it by its fingerprint, or create a CA: scistream cert init')] : []),
    ...(purposes.includes(use)
      ? []
      : [problem(`It is not valid for a ${use}, only for a ${purposes.join(' or ') || 'program of another kind'}.`)]),
  ];
}

function serverFlaws(
  certificate: X509Certificate,
  { alternativeNames }: CertificateFacts,
  host: string | undefined,
): readonly CertificateFlaw[] {
  const hosts = alternativeNames.filter(({ type }) => type !== 'uri').map(({ value }) => value);
  const make = 'Create one with the names that clients use: scistream cert init --server FILE NAME ADDRESS';
  if (hosts.length === 0) {
    return [
      problem(
        'It has no alternative names (SAN), so clients reject it for every address. The subject does not count.',
        make,
      ),
    ];
  }
  const fits = host === undefined || (isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host));
  return fits ? [] : [problem(`It is not valid for ${host ?? ''}, only for ${hosts.join(', ')}.`, make)];
}

function strength({ publicKey }: X509Certificate): readonly CertificateFlaw[] {
  const { modulusLength } = publicKey.asymmetricKeyDetails ?? {};
  if (modulusLength === undefined || modulusLength >= MIN_RSA_BITS) return [];
  return [
    problem(`Its RSA key of ${modulusLength} bits is too short.`, 'Create a new certificate: scistream cert init'),
  ];
}

function signature(certificate: X509Certificate, ca: X509Certificate): readonly CertificateFlaw[] {
  if (certificate.checkIssued(ca) && certificate.verify(ca.publicKey)) return [];
  return [problem(`It was not signed by ${commonNameOf(ca) ?? 'this CA'}.`, 'Use the CA that signed it.')];
}
