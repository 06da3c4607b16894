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
/** Clocks that are this much behind accept a new certificate at once, ms. */
const CLOCK_SKEW_MS = 3_600_000;
/** For as long as the machines of a facility live. */
const AUTHORITY_DAYS = 3650;
/** Thirteen months: a yearly renewal has a month of grace. */
export const DEFAULT_DAYS = 397;

/** A certificate and its unencrypted key, both PEM. */
export interface Issued {
  readonly certificate: string;
  readonly key: string;
}

/** What to issue. */
export interface IssueWish {
  /** Common name. */
  readonly name: string;
  readonly purposes: readonly Purpose[];
  readonly alternativeNames?: readonly AlternativeName[];
  /** Days from now; it never outlives its authority. */
  readonly days?: number | undefined;
  /** PEM of the key it is for; default: a new one. */
  readonly key?: string | undefined;
}

/** Makes an authority of its own that signs for itself, valid for ten years. @param name Common name, different for each. */
export function makeAuthority(name: string, now = new Date()): Issued {
  return authority(name, newKeys(), now);
}

/**
 * Has an authority sign a certificate.
 * @throws SCI_CERTIFICATE_INVALID when the authority cannot: it is none, has expired, its key is another, or of a form that
 * only its own tools can handle
 */
export function issue(ca: Issued, wish: IssueWish, now = new Date()): Issued {
  const signer = parseCertificate(ca.certificate, 'The CA');
  const name = commonNameOf(signer);
  const end = new Date(signer.validTo);
  if (!signer.ca || name === undefined) throw unusable('it is no authority');
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
      'its key is another, or it was not made with scistream cert init',
      'Have it renewed where the CA is kept.',
    );
  }
  return { certificate, key: keyPem(keys) };
}

/**
 * Makes a certificate anew, with the same names and purposes.
 * @param old PEM of the certificate and its key; an authority signs for itself again and keeps its key.
 * @param ca Of the authority; not looked at for an authority.
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
  if (name === undefined) throw invalid('It has no common name.', 'Make a new one: scistream cert init');
  if (isAuthority && purposes.length > 0) {
    throw invalid('It signs for itself and for no other, so that nothing renews it.', SELF_SIGNED);
  }
  if (isAuthority) return authority(name, usableKeys(old.key), now);
  if (!ca) throw unusable('there is none', 'Name it: --ca ca.crt');
  const alternativeNames = alternativeNamesOf(certificate);
  return issue(ca, { name, purposes, alternativeNames, days, ...(!newKey && { key: old.key }) }, now);
}

function authority(name: string, keys: Keys, now: Date): Issued {
  const notBefore = new Date(now.getTime() - CLOCK_SKEW_MS);
  const notAfter = new Date(now.getTime() + AUTHORITY_DAYS * DAY_MS);
  return { certificate: certify({ name, keys, authority: true, notBefore, notAfter }), key: keyPem(keys) };
}

const DNS_NAME = /^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;

/** Parses a name under which clients reach a server: a DNS name or an IP address, nothing more. @throws SCI_USAGE */
export function parseHostName(text: string): AlternativeName {
  const name = text.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
  const isName = DNS_NAME.test(name) && name.length <= 253 && !/(^|\.)\d+$/.test(name);
  if ((isIP(name) !== 0 && !name.includes('%')) || isName) return hostName(name.toLowerCase());
  throw new SciStreamError('SCI_USAGE', `${quote(text)} is neither a DNS name nor an IP address.`, {
    suggestions: ['Write what clients type before the port, such as s2cs.aps.example or 203.0.113.10.'],
  });
}

function usableKeys(pem: string): Keys {
  try {
    return keysOf(pem);
  } catch (error) {
    throw unusable(`a key cannot be used: ${messageOf(error)}`, 'Give an unencrypted PEM key on an elliptic curve.');
  }
}

const SELF_SIGNED =
  'Remove the directory tls of the state directory and start the daemon: it makes another. Or: scistream cert init';

const unusable = (why: string, ...suggestions: string[]): SciStreamError =>
  invalid(`The CA cannot sign: ${why}.`, ...suggestions);

const invalid = (message: string, ...suggestions: string[]): SciStreamError =>
  new SciStreamError('SCI_CERTIFICATE_INVALID', message, { suggestions });
