import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { isIP, SocketAddress } from 'node:net';
import { parseIp } from '../contracts/network.js';
import { bits, boolean, explicit, implicit, integer, octets, oid, sequence, set, time, utf8 } from './der.js';

/** Key usages (RFC 5280 section 4.2.1.3): digitalSignature is bit 0, keyCertSign is bit 5. */
const SIGNS_DATA = bits(Buffer.of(0x80), 7);
const SIGNS_CERTIFICATES = bits(Buffer.of(0x04), 2);
const PURPOSES = { server: oid('1.3.6.1.5.5.7.3.1'), client: oid('1.3.6.1.5.5.7.3.2') };
const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));

/** A private key on an elliptic curve, and its public key in DER (SubjectPublicKeyInfo). */
export interface Keys {
  readonly key: KeyObject;
  readonly spki: Buffer;
}

/** Use of a certificate. */
export type Purpose = 'server' | 'client';

/** A name beside the subject (RFC 5280 section 4.2.1.6). */
export interface AlternativeName {
  readonly type: 'dns' | 'ip' | 'uri';
  readonly value: string;
}

/** Contents of a certificate and its signer. */
export interface CertificateWish {
  /** Common name of the subject. Without `issuer`, also of the issuer. */
  readonly name: string;
  /** Keys of the subject. Only the public key becomes part of the certificate. */
  readonly keys: Keys;
  /** Absent: the certificate is self-signed. */
  readonly issuer?: { readonly name: string; readonly keys: Keys } | undefined;
  /** May sign certificates, but not those of other authorities. */
  readonly authority?: boolean;
  /** Default: none, as for an authority. */
  readonly purposes?: readonly Purpose[];
  readonly alternativeNames?: readonly AlternativeName[];
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** New keys on the curve P-256. */
export function newKeys(): Keys {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { key: privateKey, spki: publicKey.export({ type: 'spki', format: 'der' }) };
}

/** Keys from PEM. @throws an error of node:crypto unless the text is an unencrypted key; Error for other key types */
export function keysOf(pem: string): Keys {
  const key = createPrivateKey(pem);
  if (key.asymmetricKeyType !== 'ec') throw new Error(`its type is ${key.asymmetricKeyType ?? 'unknown'}, not EC`);
  return { key, spki: createPublicKey(key).export({ type: 'spki', format: 'der' }) };
}

/** A private key as PEM (PKCS #8). */
export const keyPem = ({ key }: Keys): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

/** A DNS name, or an IP address in its shortest form. */
export function hostName(value: string): AlternativeName {
  const version = isIP(value);
  if (version === 0) return { type: 'dns', value };
  const { address } = new SocketAddress({ address: value, family: version === 4 ? 'ipv4' : 'ipv6' });
  return { type: 'ip', value: address };
}

/** Creates a certificate (RFC 5280 section 4.1), signed with ECDSA and SHA-256, in under 1 ms. @returns PEM */
export function certify({
  name,
  keys,
  issuer = { name, keys },
  notBefore,
  notAfter,
  ...wish
}: CertificateWish): string {
  const extensions = extensionsOf(keys.spki, issuer.keys === keys ? undefined : issuer.keys.spki, wish);
  const validity = sequence(time(notBefore), time(notAfter));
  const what = [validity, commonName(name), keys.spki, explicit(3, sequence(...extensions))];
  const version3 = explicit(0, integer(Buffer.of(2)));
  const signed = sequence(version3, integer(newSerial()), ECDSA_WITH_SHA256, commonName(issuer.name), ...what);
  const der = sequence(signed, ECDSA_WITH_SHA256, bits(sign('sha256', signed, issuer.keys.key)));
  return new X509Certificate(der).toString();
}

function extensionsOf(
  own: Buffer,
  signer: Buffer | undefined,
  {
    authority = false,
    purposes = [],
    alternativeNames = [],
  }: Pick<CertificateWish, 'authority' | 'purposes' | 'alternativeNames'>,
): readonly Buffer[] {
  const usage = authority ? SIGNS_CERTIFICATES : SIGNS_DATA;
  return [
    ...(authority ? [extension('2.5.29.19', sequence(boolean(true), integer(Buffer.of(0))), 'critical')] : []),
    // A server that is also an authority has no key usage, because some programs reject servers that may sign.
    ...(authority && purposes.length > 0 ? [] : [extension('2.5.29.15', usage, 'critical')]),
    ...(purposes.length > 0 ? [extension('2.5.29.37', sequence(...purposes.map((purpose) => PURPOSES[purpose])))] : []),
    ...(alternativeNames.length > 0 ? [extension('2.5.29.17', sequence(...alternativeNames.map(generalName)))] : []),
    ...(authority ? [extension('2.5.29.14', octets(keyId(own)))] : []),
    ...(signer ? [extension('2.5.29.35', sequence(implicit(0, keyId(signer))))] : []),
  ];
}

/** Key identifier: any digest of the key (RFC 5280 section 4.2.1.2). */
const keyId = (spki: Buffer): Buffer => createHash('sha256').update(spki).digest().subarray(0, 20);

function generalName({ type, value }: AlternativeName): Buffer {
  if (type === 'ip') return implicit(7, ipOctets(value));
  return implicit(type === 'dns' ? 2 : 6, Buffer.from(value));
}

function ipOctets(value: string): Buffer {
  const { words = [] } = parseIp(value) ?? {};
  const octets = Buffer.alloc(16);
  words.forEach((word, i) => octets.writeInt32BE(word, 4 * i));
  return isIP(value) === 4 ? octets.subarray(12) : octets;
}

/** 126 random bits, positive, never zero (RFC 5280 section 4.1.2.2). */
function newSerial(): Buffer {
  const serial = randomBytes(16);
  serial.writeUInt8((serial.readUInt8(0) & 0x3f) | 0x40, 0);
  return serial;
}

const commonName = (name: string): Buffer => sequence(set(sequence(oid('2.5.4.3'), utf8(name))));

const extension = (id: string, value: Buffer, critical?: 'critical'): Buffer =>
  sequence(oid(id), ...(critical ? [boolean(true)] : []), octets(value));
