import type { X509Certificate } from 'node:crypto';
import { z } from 'zod';
import { fingerprint } from '../config/fields.js';
import type { Authenticator, Credentials, Identity, ShownCertificate } from '../contracts/authenticator.js';
import { SciStreamError } from '../contracts/errors.js';
import { authenticatorProvider } from '../contracts/plugin.js';
import { alternativeNamesOf, commonNameOf, fingerprintOf } from '../pki/inspect.js';

const name = z.string().min(1).max(200);

const options = z.strictObject({
  /** The `issuer` of the identities, as rules name it. */
  issuer: name.default('certificate'),
  /** Where in a certificate the subject stands; default: the first that is there. */
  subject: z.enum(['uri', 'dns', 'cn']).optional(),
  /** Subjects that may see, change and release the streams of others. */
  admins: z.array(name).default([]),
  /** Subjects of each group. */
  groups: z.record(name, z.array(name)).default({}),
  /** Fingerprints (SHA-256) of certificates that let nobody in any more, until they expire. */
  revoked: z.array(fingerprint).default([]),
});

type Options = z.output<typeof options>;

/** What fits into a log and a rule. */
const SUBJECT = /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]{1,200}$/u;

/** Certificates of clients that a CA of `tls.clientCa` vouches for. */
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
  // Expired since it was shown, too: a connection may last.
  if (refusal === 'CERT_HAS_EXPIRED' || Date.parse(certificate.validTo) < Date.now()) throw expired(certificate);
  if (refusal !== undefined) throw untrusted(`not accepted (${refusal})`);
  if (revoked.includes(fingerprintOf(certificate))) throw withdrawn();
  const subject = subjectOf(certificate, where);
  if (subject === undefined || !SUBJECT.test(subject)) throw untrusted(`without a ${where ?? 'name'} that can be used`);
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
  new SciStreamError('SCI_CERTIFICATE_MISSING', 'No client certificate came with the connection.', {
    suggestions: ['Set facilities.<name>.cert and .key, or give --cert FILE --key FILE.'],
  });

const untrusted = (why: string): SciStreamError =>
  new SciStreamError('SCI_CERTIFICATE_UNTRUSTED', `The client certificate is ${why}.`, {
    suggestions: ['Ask the operator of the control server which CA signs the certificates of clients.'],
  });

const expired = ({ validTo }: X509Certificate): SciStreamError =>
  new SciStreamError('SCI_CERTIFICATE_EXPIRED', `The client certificate ended ${new Date(validTo).toISOString()}.`, {
    suggestions: ['Have it renewed by whoever made it: scistream cert renew FILE'],
  });

const withdrawn = (): SciStreamError =>
  new SciStreamError('SCI_CERTIFICATE_REVOKED', 'The client certificate was revoked here.', {
    suggestions: ['Ask the operator of the control server for another one, with a key of its own.'],
  });
