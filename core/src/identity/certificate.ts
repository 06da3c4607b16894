import type { X509Certificate } from 'node:crypto';
import { z } from 'zod';
import { fingerprint, identityName } from '../config/fields.js';
import {
  isIdentityName,
  type Authenticator,
  type Credentials,
  type Identity,
  type ShownCertificate,
} from '../contracts/authenticator.js';
import { SciStreamError } from '../contracts/errors.js';
import { authenticatorProvider } from '../contracts/plugin.js';
import { alternativeNamesOf, commonNameOf, fingerprintOf } from '../pki/inspect.js';

const options = z.strictObject({
  /** The `issuer` of the identities. Rules use this name. */
  issuer: identityName.default('certificate'),
  /** The field of the certificate that holds the subject. Default: the first one present. */
  subject: z.enum(['uri', 'dns', 'cn']).optional(),
  /** Subjects that may view, change and release the streams of other owners. */
  admins: z.array(identityName).default([]),
  /** Subjects of each group. */
  groups: z.record(identityName, z.array(identityName)).default({}),
  /** Fingerprints (SHA-256) of certificates that are rejected before they expire. */
  revoked: z.array(fingerprint).default([]),
});

type Options = z.output<typeof options>;

/** Client certificates signed by a CA of `tls.clientCa`. */
export const certificateProvider = authenticatorProvider({
  id: 'certificate',
  options,
  create: (_context, settings: Options): Authenticator => ({
    id: 'certificate',
    authenticate: async ({ certificate }: Credentials): Promise<Identity> => identityOf(certificate, settings),
  }),
});

/** @throws SCI_CERTIFICATE_MISSING, SCI_CERTIFICATE_UNTRUSTED, SCI_CERTIFICATE_EXPIRED, SCI_CERTIFICATE_REVOKED */
function identityOf(
  shown: ShownCertificate | undefined,
  { issuer, admins, groups, subject: where, revoked }: Options,
): Identity {
  if (!shown) throw missing();
  const { certificate, refusal } = shown;
  // A long connection may outlive its certificate.
  if (refusal === 'CERT_HAS_EXPIRED' || Date.parse(certificate.validTo) < Date.now()) throw expired(certificate);
  if (refusal !== undefined) throw untrusted(`not trusted (${refusal})`);
  if (revoked.includes(fingerprintOf(certificate))) throw withdrawn();
  const subject = subjectOf(certificate, where);
  if (subject === undefined || !isIdentityName(subject)) throw untrusted(`without a usable ${where ?? 'name'}`);
  const memberOf = Object.keys(groups).filter((group) => groups[group]?.includes(subject));
  return { subject, issuer, admin: admins.includes(subject), ...(memberOf.length > 0 && { groups: memberOf }) };
}

function subjectOf(certificate: X509Certificate, where: Options['subject']): string | undefined {
  const names = alternativeNamesOf(certificate);
  const first = (type: 'uri' | 'dns'): string | undefined => names.find((found) => found.type === type)?.value;
  if (where === 'cn') return commonNameOf(certificate);
  return where ? first(where) : (first('uri') ?? first('dns') ?? commonNameOf(certificate));
}

const missing = (): SciStreamError =>
  new SciStreamError('SCI_CERTIFICATE_MISSING', 'The connection has no client certificate.', {
    suggestions: ['Set facilities.<name>.cert and .key, or give --cert FILE --key FILE.'],
  });

const untrusted = (why: string): SciStreamError =>
  new SciStreamError('SCI_CERTIFICATE_UNTRUSTED', `The client certificate is ${why}.`, {
    suggestions: ['Ask the operator of the control server which CA signs client certificates.'],
  });

const expired = ({ validTo }: X509Certificate): SciStreamError =>
  new SciStreamError('SCI_CERTIFICATE_EXPIRED', `The client certificate expired ${new Date(validTo).toISOString()}.`, {
    suggestions: ['Ask its issuer to renew it: scistream cert renew FILE'],
  });

const withdrawn = (): SciStreamError =>
  new SciStreamError('SCI_CERTIFICATE_REVOKED', 'This facility has revoked the client certificate.', {
    suggestions: ['Ask the operator of the control server for a certificate with a new key.'],
  });
