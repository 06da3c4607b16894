import { createHash, generateKeyPairSync, randomBytes, sign, X509Certificate, type KeyObject } from 'node:crypto';
import type { StreamTls } from '../s2ds.js';
import { bits, boolean, explicit, implicit, integer, octets, oid, sequence, set, time, utf8 } from './der.js';
import type { Plan } from './setup.js';

/** How far the clocks of the user and of the gateways may be apart, ms. */
const CLOCK_SKEW_MS = 10 * 60_000;

/** The longest lifetime that a control server may allow, ms: credentials must not end before it. */
const MAX_LIFETIME_MS = 20 * 86_400_000;

/** The names in the certificates: the same in every stream, and nobody's (RFC 6761 section 6.4). */
const NAMES = { ca: 'ca.scistream.invalid', from: 'prod.scistream.invalid', to: 'cons.scistream.invalid' };

/** Key usages (RFC 5280 section 4.2.1.3): digitalSignature is bit 0, keyCertSign is bit 5. */
const SIGNS_DATA = bits(Buffer.of(0x80), 7);
const SIGNS_CERTIFICATES = bits(Buffer.of(0x04), 2);
const SERVER = oid('1.3.6.1.5.5.7.3.1');
const CLIENT = oid('1.3.6.1.5.5.7.3.2');
const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));

/** The credentials of both sides of one stream. */
export interface StreamCredentials {
  /** Of the inbound side, the TLS server. */
  readonly from: StreamTls;
  /** Of the outbound side, the TLS client. */
  readonly to: StreamTls;
}

/**
 * Makes what the two gateways of one stream recognise each other by: an authority of its own, whose key nobody keeps,
 * and a certificate for each side, all with ECDSA on P-256. Nothing in it comes from the uid, which more people know.
 * About 1 ms; call it once per stream.
 * @param expiresAt When the stream ends at the latest.
 */
export function makeCredentials(expiresAt: Date, now: Date = new Date()): StreamCredentials {
  const validity = sequence(
    time(new Date(now.getTime() - CLOCK_SKEW_MS)),
    time(new Date(expiresAt.getTime() + CLOCK_SKEW_MS)),
  );
  const authority = newKeys();
  const keyId = createHash('sha256').update(authority.spki).digest().subarray(0, 20);
  const issue = (name: string, spki: Buffer, extensions: readonly Buffer[]): string =>
    certificate({ name, spki, extensions, validity, issuer: NAMES.ca, signer: authority.key });
  const ca = issue(NAMES.ca, authority.spki, [
    extension('2.5.29.19', sequence(boolean(true), integer(Buffer.of(0))), 'critical'),
    extension('2.5.29.15', SIGNS_CERTIFICATES, 'critical'),
    extension('2.5.29.14', octets(keyId)),
  ]);
  const side = (name: string, usage: Buffer, peer: string): StreamTls => {
    const { key, spki } = newKeys();
    const extensions = [
      extension('2.5.29.15', SIGNS_DATA, 'critical'),
      extension('2.5.29.37', sequence(usage)),
      extension('2.5.29.17', sequence(implicit(2, Buffer.from(name)))),
      extension('2.5.29.35', sequence(implicit(0, keyId))),
    ];
    return {
      certificate: issue(name, spki, extensions),
      key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
      ca,
      peer,
    };
  };
  return { from: side(NAMES.from, SERVER, NAMES.to), to: side(NAMES.to, CLIENT, NAMES.from) };
}

/** @returns undefined for a stream that is not to be encrypted. */
export function credentialsFor({
  encryption,
  lifetimeMs,
}: Pick<Plan, 'encryption' | 'lifetimeMs'>): StreamCredentials | undefined {
  if (encryption === 'none') return undefined;
  return makeCredentials(new Date(Date.now() + (lifetimeMs || MAX_LIFETIME_MS)));
}

interface Contents {
  readonly name: string;
  readonly spki: Buffer;
  readonly extensions: readonly Buffer[];
  readonly validity: Buffer;
  readonly issuer: string;
  readonly signer: KeyObject;
}

/** RFC 5280 section 4.1. @returns PEM */
function certificate({ name, spki, extensions, validity, issuer, signer }: Contents): string {
  const version3 = explicit(0, integer(Buffer.of(2)));
  const what = [validity, commonName(name), spki, explicit(3, sequence(...extensions))];
  const signed = sequence(version3, integer(newSerial()), ECDSA_WITH_SHA256, commonName(issuer), ...what);
  const der = sequence(signed, ECDSA_WITH_SHA256, bits(sign('sha256', signed, signer)));
  return new X509Certificate(der).toString();
}

function newKeys(): { readonly key: KeyObject; readonly spki: Buffer } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { key: privateKey, spki: publicKey.export({ type: 'spki', format: 'der' }) };
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
