import { createHash, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { identityName } from '../config/fields.js';
import { isIdentityName, type Authenticator, type Credentials, type Identity } from '../contracts/authenticator.js';
import { SciStreamError } from '../contracts/errors.js';
import { authenticatorProvider } from '../contracts/plugin.js';

/** The same error for every reason, so that strangers learn nothing. */
export const unauthenticated = (): SciStreamError =>
  new SciStreamError('SCI_UNAUTHENTICATED', 'The call has no valid credentials.', {
    suggestions: [
      'Set a token that this facility accepts: key facilities.<name>.token. Or log in: scistream login FACILITY',
    ],
  });

/** Accepts every caller as the same anonymous identity and ignores tokens (protocol.md §2). */
export const noneProvider = authenticatorProvider({
  id: 'none',
  options: z.strictObject({}),
  create: (): Authenticator => ({
    id: 'none',
    allowsAnonymous: true,
    authenticate: (): Promise<Identity> => Promise.resolve({ subject: 'anonymous', issuer: 'none', admin: false }),
  }),
});

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();
/** The hash of an empty token. */
const NOTHING = sha256('').toString('hex');

const tokenOptions = z.strictObject({
  /** Callers and the SHA-256 of their tokens, with or without `sha256:`, as `scistream token new` prints them. */
  tokens: z
    .array(
      z.strictObject({
        subject: identityName,
        sha256: z
          .string()
          .regex(/^(sha256:)?[0-9a-f]{64}$/, 'must be 64 hexadecimal digits')
          .transform((hash) => hash.slice(-64))
          .refine((hash) => hash !== NOTHING, 'is the hash of an empty token')
          // As in the examples.
          .refine(
            (hash) => !/^(.)\1*$/.test(hash),
            'is a placeholder; create a token: scistream token new --subject NAME',
          ),
        admin: z.boolean().default(false),
        groups: z.array(identityName).optional(),
      }),
    )
    .min(1),
});

/** Static bearer tokens. The configuration holds only their hashes. */
export const tokenProvider = authenticatorProvider({
  id: 'token',
  options: tokenOptions,
  create: (_context, { tokens }: z.output<typeof tokenOptions>): Authenticator => ({
    id: 'token',
    authenticate: ({ token }: Credentials): Promise<Identity> => {
      const hash = sha256(token);
      const found = token !== '' && tokens.find(({ sha256 }) => timingSafeEqual(Buffer.from(sha256, 'hex'), hash));
      if (!found) return Promise.reject(unauthenticated());
      const { subject, admin, groups } = found;
      return Promise.resolve({ subject, issuer: 'token', admin, ...(groups && { groups }) });
    },
  }),
});

/** Codes of refusals, from the least to the most informative. */
const RANKS: readonly string[] = [
  'SCI_CERTIFICATE_MISSING',
  'SCI_TOKEN_MALFORMED',
  'SCI_TOKEN_ISSUER',
  'SCI_UNAUTHENTICATED',
  'SCI_TOKEN_MISSING',
];
const isRefusal = ({ code }: SciStreamError): boolean =>
  ['SCI_UNAUTHENTICATED', 'SCI_ISSUER_UNREACHABLE'].includes(code) || /^SCI_(TOKEN|CERTIFICATE)_/.test(code);

/** A temporary failure counts most, because a retry may succeed. */
const rankOf = ({ code }: SciStreamError): number =>
  code === 'SCI_ISSUER_UNREACHABLE' ? Infinity : RANKS.includes(code) ? RANKS.indexOf(code) : RANKS.length;

const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value);

/**
 * Checks what the code of a plugin returned.
 * @throws SCI_UNAUTHENTICATED if a field has another type, or a name is not safe in records, rules and logs
 */
function checked(identity: Identity): Identity {
  const { subject, issuer, admin, groups = [] } = identity;
  const isTyped = typeof admin === 'boolean' && isList(groups);
  if (isTyped && [subject, issuer, ...groups].every(isIdentityName)) return identity;
  throw new SciStreamError('SCI_UNAUTHENTICATED', 'The identity of the caller has a name that cannot be used.', {
    suggestions: ['Ask the issuer for a subject and groups without control and formatting characters.'],
  });
}

/**
 * Tries authenticators in their order until one accepts the caller. Authenticators that send credentials to another
 * service come last, so that the service sees only credentials that no other authenticator accepts.
 */
export class AuthenticatorChain implements Authenticator {
  readonly id = 'chain';
  readonly allowsAnonymous: boolean;
  readonly #links: readonly Authenticator[];

  constructor(links: readonly Authenticator[]) {
    // No authenticator after this one is ever tried, so none may move behind it.
    const end = links.findIndex(({ allowsAnonymous }) => allowsAnonymous);
    this.allowsAnonymous = end !== -1;
    const asked = end === -1 ? links : links.slice(0, end);
    const others = asked.filter(({ isRemote }) => isRemote);
    this.#links = [...asked.filter((link) => !others.includes(link)), ...others, ...links.slice(asked.length)];
  }

  async authenticate(credentials: Credentials, signal?: AbortSignal): Promise<Identity> {
    let reason: SciStreamError | undefined;
    for (const link of this.#links) {
      try {
        return checked(await link.authenticate(credentials, signal));
      } catch (error) {
        if (!SciStreamError.is(error) || !isRefusal(error)) throw error;
        if (!reason || rankOf(error) > rankOf(reason)) reason = error;
      }
    }
    throw reason ?? unauthenticated();
  }
}
