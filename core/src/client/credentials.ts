import type { StreamTls } from '../contracts/stream.js';
import { certify, keyPem, newKeys, type Purpose } from '../pki/certify.js';
import type { Plan } from './setup.js';

/** How far the clocks of the user and of the gateways may be apart, ms. */
const CLOCK_SKEW_MS = 10 * 60_000;

/** The longest lifetime that a control server may allow, ms: credentials must not end before it. */
const MAX_LIFETIME_MS = 20 * 86_400_000;

/** The names in the certificates: the same in every stream, and nobody's (RFC 6761 section 6.4). */
const NAMES = { ca: 'ca.scistream.invalid', from: 'prod.scistream.invalid', to: 'cons.scistream.invalid' };

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
  const validity = {
    notBefore: new Date(now.getTime() - CLOCK_SKEW_MS),
    notAfter: new Date(expiresAt.getTime() + CLOCK_SKEW_MS),
  };
  const authority = { name: NAMES.ca, keys: newKeys() };
  const ca = certify({ ...authority, ...validity, authority: true });
  const side = (name: string, purpose: Purpose, peer: string): StreamTls => {
    const keys = newKeys();
    const alternativeNames = [{ type: 'dns', value: name }] as const;
    const certificate = certify({ name, keys, issuer: authority, purposes: [purpose], alternativeNames, ...validity });
    return { certificate, key: keyPem(keys), ca, peer };
  };
  return { from: side(NAMES.from, 'server', NAMES.to), to: side(NAMES.to, 'client', NAMES.from) };
}

/** @returns undefined for a stream that is not to be encrypted. */
export function credentialsFor({
  encryption,
  lifetimeMs,
}: Pick<Plan, 'encryption' | 'lifetimeMs'>): StreamCredentials | undefined {
  if (encryption === 'none') return undefined;
  return makeCredentials(new Date(Date.now() + (lifetimeMs || MAX_LIFETIME_MS)));
}
