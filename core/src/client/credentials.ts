import type { StreamTls } from '../contracts/stream.js';
import { certify, keyPem, newKeys, type Purpose } from '../pki/certify.js';
import type { Plan } from './plan.js';

/** Maximum difference between the clocks of the user and of the gateways, ms. */
const CLOCK_SKEW_MS = 10 * 60_000;

/** Maximum lifetime that a control server can allow, ms. Credentials must not expire before it. */
const MAX_LIFETIME_MS = 20 * 86_400_000;

/** Names in the certificates: the same for every stream, and reserved as invalid (RFC 6761 section 6.4). */
const NAMES = { ca: 'ca.scistream.invalid', from: 'prod.scistream.invalid', to: 'cons.scistream.invalid' };

/** The credentials of both sides of one stream. */
export interface StreamCredentials {
  /** Credentials of the inbound side, the TLS server. */
  readonly from: StreamTls;
  /** Credentials of the outbound side, the TLS client. */
  readonly to: StreamTls;
}

/**
 * Creates the credentials with which the two gateways of one stream authenticate each other: a CA for this stream,
 * whose key is discarded, and one certificate for each side, all with ECDSA on P-256. The uid is not part of them,
 * because it is not a secret. Takes about 1 ms; call it once per stream.
 * @param expiresAt Latest possible end of the stream.
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

/** @returns undefined for a stream without encryption. */
export function credentialsFor({
  encryption,
  lifetimeMs,
}: Pick<Plan, 'encryption' | 'lifetimeMs'>): StreamCredentials | undefined {
  if (encryption === 'none') return undefined;
  return makeCredentials(new Date(Date.now() + (lifetimeMs || MAX_LIFETIME_MS)));
}
