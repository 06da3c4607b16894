import type { Role, StreamTls } from '../contracts/stream.js';
import { certify, hostName, keyPem, newKeys, type Purpose } from '../pki/certify.js';

const HOUR_MS = 3_600_000;

const NAMES: Readonly<Record<Role, string>> = { inbound: 'prod.scistream.invalid', outbound: 'cons.scistream.invalid' };

/** Credentials of both sides of a stream. */
export interface TestCredentials {
  /** Of the inbound side, the TLS server. */
  readonly inbound: StreamTls;
  /** Of the outbound side, the TLS client. */
  readonly outbound: StreamTls;
  /** Of a server that the same authority knows, by another name: not the other side of this stream. */
  readonly other: StreamTls;
}

/**
 * Makes an authority of its own and a certificate for each side of a stream, ECDSA P-256, valid for an hour: what the
 * user client makes for a real stream. Two calls give credentials that do not trust each other.
 */
export async function testCredentials(): Promise<TestCredentials> {
  const authority = { name: 'authority of a test', keys: newKeys() };
  const validity = { notBefore: new Date(Date.now() - HOUR_MS), notAfter: new Date(Date.now() + HOUR_MS) };
  const ca = certify({ ...authority, ...validity, authority: true });
  const issue = (name: string, peer: string, purpose: Purpose): StreamTls => {
    const keys = newKeys();
    const names = { purposes: [purpose], alternativeNames: [hostName(name)] };
    const certificate = certify({ name, keys, issuer: authority, ...names, ...validity });
    return { certificate, key: keyPem(keys), ca, peer };
  };
  return {
    inbound: issue(NAMES.inbound, NAMES.outbound, 'server'),
    outbound: issue(NAMES.outbound, NAMES.inbound, 'client'),
    other: issue(`other.${NAMES.inbound}`, NAMES.outbound, 'server'),
  };
}
