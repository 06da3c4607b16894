import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { quote, SciStreamError } from './errors.js';
import type { StreamTls } from './stream.js';

/** Maximum length of a PEM text, characters. */
const MAX_PEM = 8192;
const SUGGESTIONS = ['Create the credentials with scistream stream up, and check the clock of that machine.'];

/**
 * Parses the credentials of one side as a client sent them. The result is serialized from the parsed objects, so that
 * the files of a proxy contain nothing else that the client sent.
 * @throws SCI_CREDENTIALS_INVALID if a part is damaged or too long, the parts do not match, or they are not valid now
 */
export function parseCredentials({ certificate, key, ca, peer }: StreamTls, now: Date = new Date()): StreamTls {
  const own = parseCertificate('certificate', certificate);
  const authority = parseCertificate('ca', ca);
  const privateKey = parseKey(key);
  if (!own.checkPrivateKey(privateKey)) throw invalid('key does not match certificate');
  if (!authority.ca || !authority.verify(authority.publicKey)) throw invalid('ca is not a CA certificate');
  if (!own.checkIssued(authority) || !own.verify(authority.publicKey)) throw invalid('certificate is not signed by ca');
  for (const one of [own, authority]) mustBeValid(one, now);
  return {
    certificate: own.toString(),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    ca: authority.toString(),
    peer: parsePeer(peer),
  };
}

/** Requires exactly one PEM block and no other text. */
function mustBePem(field: string, text: string, label: string): void {
  if (text.length > MAX_PEM) throw invalid(`${field} is longer than ${MAX_PEM} characters`);
  const block = new RegExp(`^-----BEGIN ${label}-----\\r?\\n(?:[A-Za-z0-9+/=]+\\r?\\n)+-----END ${label}-----\\s*$`);
  if (!block.test(text)) throw invalid(`${field} is not one PEM block ${label}`);
}

/** Its errors have no cause, so that no part of the input reaches a log. */
function parseCertificate(field: string, text: string): X509Certificate {
  mustBePem(field, text, 'CERTIFICATE');
  try {
    return new X509Certificate(text);
  } catch {
    throw invalid(`${field} is not a certificate`);
  }
}

function parseKey(text: string): KeyObject {
  mustBePem('key', text, 'PRIVATE KEY');
  try {
    return createPrivateKey(text);
  } catch {
    throw invalid('key is not a private key');
  }
}

function mustBeValid({ validFrom, validTo }: X509Certificate, now: Date): void {
  if (Date.parse(validFrom) <= now.getTime() && now.getTime() < Date.parse(validTo)) return;
  throw invalid(`valid from ${validFrom} to ${validTo}, but the time of this machine is ${now.toISOString()}`);
}

/** @throws SCI_CREDENTIALS_INVALID unless the text is a DNS name (RFC 1123 §2.1) */
function parsePeer(text: string): string {
  const label = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
  if (text.length <= 253 && new RegExp(`^(?:${label}\\.)*(?!\\d+$)${label}$`).test(text)) return text;
  throw invalid(`peer is not a DNS name: ${quote(text)}`);
}

const invalid = (what: string): SciStreamError =>
  new SciStreamError('SCI_CREDENTIALS_INVALID', `The credentials of the stream are not usable: ${what}.`, {
    suggestions: SUGGESTIONS,
  });
