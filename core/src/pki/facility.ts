import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { messageOf, quote, SciStreamError } from '../contracts/errors.js';
import {
  certify,
  hostName,
  keyPem,
  keysOf,
  newKeys,
  type AlternativeName,
  type Keys,
  type Purpose,
} from './certify.js';
import { alternativeNamesOf, commonNameOf, describeCertificate, parseCertificate } from './inspect.js';

const DAY_MS = 86_400_000;
/** Hosts whose clocks are behind by up to this time accept new certificates immediately, ms. */
const CLOCK_SKEW_MS = 3_600_000;
/** Ten years, about the life of the hosts of a facility. */
const AUTHORITY_DAYS = 3650;
/** Thirteen months: yearly renewal may be a month late. */
const DEFAULT_DAYS = 397;

/** A certificate and its unencrypted key, both in PEM. */
export interface Issued {
  readonly certificate: string;
  readonly key: string;
}

/** The certificate to issue. */
export interface IssueWish {
  /** Common name. */
  readonly name: string;
  readonly purposes: readonly Purpose[];
  readonly alternativeNames?: readonly AlternativeName[];
  /** Validity in days from now. It ends no later than that of the authority. */
  readonly days?: number | undefined;
  /** PEM of its key. Default: a new key. */
  readonly key?: string | undefined;
}

/** Creates a self-signed authority that is valid for ten years. @param name Common name, unique for each authority */
export function makeAuthority(name: string, now = new Date()): Issued {
  return authority(name, newKeys(), now);
}

/**
 * Signs a certificate with an authority.
 * @throws SCI_CERTIFICATE_INVALID if `ca` is not an authority, has expired, does not match its key or was made with other
 * tools
 */
export function issue(ca: Issued, wish: IssueWish, now = new Date()): Issued {
  const signer = parseCertificate(ca.certificate, 'The CA');
  const name = commonNameOf(signer);
  const end = new Date(signer.validTo);
  if (!signer.ca || name === undefined) throw unusable('it is not an authority');
  if (end <= now) throw unusable(`it expired ${end.toISOString()}`, 'scistream cert renew ca.crt');
  const keys = wish.key === undefined ? newKeys() : usableKeys(wish.key);
  const wanted = now.getTime() + (wish.days ?? DEFAULT_DAYS) * DAY_MS;
  const certificate = certify({
    name: wish.name.slice(0, 64),
    keys,
    issuer: { name, keys: usableKeys(ca.key) },
    purposes: wish.purposes,
    alternativeNames: wish.alternativeNames ?? [],
    notBefore: new Date(now.getTime() - CLOCK_SKEW_MS),
    notAfter: new Date(Math.min(wanted, end.getTime())),
  });
  const made = new X509Certificate(certificate);
  if (!made.checkIssued(signer) || !made.verify(signer.publicKey)) {
    throw unusable(
      'its key does not match, or it was not made with scistream cert init',
      'Renew the certificate on the host with the CA.',
    );
  }
  return { certificate, key: keyPem(keys) };
}

/**
 * Renews a certificate with the same names and purposes.
 * @param old PEM of the certificate and its key. An authority signs itself again and keeps its key.
 * @param ca The authority. Ignored if `old` is an authority.
 * @throws SCI_CERTIFICATE_INVALID
 */
export function renew(
  old: Issued,
  ca: Issued | undefined,
  { newKey = false, days }: { readonly newKey?: boolean; readonly days?: number | undefined } = {},
  now = new Date(),
): Issued {
  const certificate = parseCertificate(old.certificate, 'The certificate');
  const name = commonNameOf(certificate);
  const { purposes, authority: isAuthority } = describeCertificate(certificate);
  if (name === undefined) throw invalid('The certificate has no common name.', 'Create a new one: scistream cert init');
  if (isAuthority && purposes.length > 0) {
    throw invalid('The certificate is self-signed and cannot be renewed.', SELF_SIGNED);
  }
  if (isAuthority) return authority(name, usableKeys(old.key), now);
  if (!ca) throw unusable('no CA is given', 'Add --ca ca.crt');
  const alternativeNames = alternativeNamesOf(certificate);
  return issue(ca, { name, purposes, alternativeNames, days, ...(!newKey && { key: old.key }) }, now);
}

function authority(name: string, keys: Keys, now: Date): Issued {
  const notBefore = new Date(now.getTime() - CLOCK_SKEW_MS);
  const notAfter = new Date(now.getTime() + AUTHORITY_DAYS * DAY_MS);
  return { certificate: certify({ name, keys, authority: true, notBefore, notAfter }), key: keyPem(keys) };
}

const DNS_NAME = /^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;

/** Parses the DNS name or IP address under which clients reach a server. @throws SCI_USAGE */
export function parseHostName(text: string): AlternativeName {
  const name = text.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
  const isName = DNS_NAME.test(name) && name.length <= 253 && !/(^|\.)\d+$/.test(name);
  if ((isIP(name) !== 0 && !name.includes('%')) || isName) return hostName(name.toLowerCase());
  throw new SciStreamError('SCI_USAGE', `${quote(text)} is neither a DNS name nor an IP address.`, {
    suggestions: ['Write the name that clients use, without port, such as s2cs.aps.example or 203.0.113.10.'],
  });
}

function usableKeys(pem: string): Keys {
  try {
    return keysOf(pem);
  } catch (error) {
    throw unusable(`a key cannot be used: ${messageOf(error)}`, 'Use an unencrypted PEM key on an elliptic curve.');
  }
}

const SELF_SIGNED =
  'Remove the directory tls of the state directory and restart the daemon, which creates a new one. Or: scistream cert init';

const unusable = (why: string, ...suggestions: string[]): SciStreamError =>
  invalid(`The CA cannot sign: ${why}.`, ...suggestions);

const invalid = (message: string, ...suggestions: string[]): SciStreamError =>
  new SciStreamError('SCI_CERTIFICATE_INVALID', message, { suggestions });
