import type { Role, StreamTls } from '../contracts/stream.js';
import { certify, hostName, keyPem, newKeys, type Purpose } from '../pki/certify.js';

const HOUR_MS = 3_600_000;

const NAMES: Readonly<Record<Role, string>> = { inbound: 'prod.scistream.invalid', outbound: 'cons.scistream.invalid' };

/** TLS credentials of both sides of a stream. */
export interface TestCredentials {
  /** Inbound side, the TLS server. */
  readonly inbound: StreamTls;
  /** Outbound side, the TLS client. */
  readonly outbound: StreamTls;
  /** A server with a certificate of the same authority but another name, so not a side of this stream. */
  readonly other: StreamTls;
  /** Both sides with certificates that are valid from the next hour on, as a clock that is slow sees them. */
  readonly early: { readonly inbound: StreamTls; readonly outbound: StreamTls };
}

/**
 * Creates an authority and a certificate for each side of a stream: ECDSA P-256, valid for one hour, as the user client
 * creates for a real stream. The credentials of two calls do not trust each other.
 */
export async function testCredentials(): Promise<TestCredentials> {
  const authority = { name: 'test authority', keys: newKeys() };
  const validity = { notBefore: new Date(Date.now() - HOUR_MS), notAfter: new Date(Date.now() + HOUR_MS) };
  const ca = certify({ ...authority, ...validity, authority: true });
  const later = { notBefore: validity.notAfter, notAfter: new Date(validity.notAfter.getTime() + HOUR_MS) };
  const issue = (name: string, peer: string, purpose: Purpose, valid = validity): StreamTls => {
    const keys = newKeys();
    const names = { purposes: [purpose], alternativeNames: [hostName(name)] };
    const certificate = certify({ name, keys, issuer: authority, ...names, ...valid });
    return { certificate, key: keyPem(keys), ca, peer };
  };
  return {
    inbound: issue(NAMES.inbound, NAMES.outbound, 'server'),
    outbound: issue(NAMES.outbound, NAMES.inbound, 'client'),
    other: issue(`other.${NAMES.inbound}`, NAMES.outbound, 'server'),
    early: {
      inbound: issue(NAMES.inbound, NAMES.outbound, 'server', later),
      outbound: issue(NAMES.outbound, NAMES.inbound, 'client', later),
    },
  };
}
