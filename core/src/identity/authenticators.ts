import { createHash, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { Authenticator, Credentials, Identity } from '../contracts/authenticator.js';
import { SciStreamError } from '../contracts/errors.js';
import { authenticatorProvider } from '../contracts/plugin.js';

/** Says the same whatever was wrong, so that a stranger learns nothing. */
export const unauthenticated = (): SciStreamError =>
  new SciStreamError('SCI_UNAUTHENTICATED', 'No valid credentials came with the call.', {
    suggestions: ['Give a token that this facility accepts: key facilities.<name>.token'],
  });

/** Everybody is the same anonymous caller; what the token says is ignored (protocol.md §2). */
export const noneProvider = authenticatorProvider({
  id: 'none',
  options: z.strictObject({}),
  create: (): Authenticator => ({
    id: 'none',
    letsAnybodyIn: true,
    authenticate: (): Promise<Identity> => Promise.resolve({ subject: 'anonymous', issuer: 'none', admin: false }),
  }),
});

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();
/** What a pipe prints into which nothing came, and the token of everybody who has none. */
const NOTHING = sha256('').toString('hex');

const tokenOptions = z.strictObject({
  /** Who may call, and the SHA-256 of the token of each, with or without `sha256:`: `printf %s TOKEN | sha256sum`. */
  tokens: z
    .array(
      z.strictObject({
        subject: z.string().min(1).max(200),
        sha256: z
          .string()
          .regex(/^(sha256:)?[0-9a-f]{64}$/, 'must be 64 hexadecimal digits')
          .transform((hash) => hash.slice(-64))
          .refine((hash) => hash !== NOTHING, 'is the hash of an empty token: there was nothing to hash'),
        admin: z.boolean().default(false),
        groups: z.array(z.string().min(1).max(200)).optional(),
      }),
    )
    .min(1),
});

/** Static bearer tokens, of which the configuration holds hashes only. */
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

/** From what says the least to what says the most about a caller whom nobody knows. */
const RANKS: readonly string[] = [
  'SCI_CERTIFICATE_MISSING',
  'SCI_TOKEN_MALFORMED',
  'SCI_TOKEN_ISSUER',
  'SCI_UNAUTHENTICATED',
  'SCI_TOKEN_MISSING',
];
const isRefusal = ({ code }: SciStreamError): boolean =>
  ['SCI_UNAUTHENTICATED', 'SCI_ISSUER_UNREACHABLE'].includes(code) || /^SCI_(TOKEN|CERTIFICATE)_/.test(code);

/** What may pass by itself counts most: whoever tries again may be let in. */
const rankOf = ({ code }: SciStreamError): number =>
  code === 'SCI_ISSUER_UNREACHABLE' ? Infinity : RANKS.includes(code) ? RANKS.indexOf(code) : RANKS.length;

/**
 * Asks one authenticator after another; the first that knows the caller decides. They are asked in their order, but those
 * that show credentials to somebody else last, who would get to see what is none of its business.
 */
export class AuthenticatorChain implements Authenticator {
  readonly id = 'chain';
  readonly letsAnybodyIn: boolean;
  readonly #links: readonly Authenticator[];

  constructor(links: readonly Authenticator[]) {
    // Nothing behind it is ever asked, so nothing of before may come to stand there.
    const end = links.findIndex(({ letsAnybodyIn }) => letsAnybodyIn);
    this.letsAnybodyIn = end !== -1;
    const asked = end === -1 ? links : links.slice(0, end);
    const others = asked.filter(({ asksOthers }) => asksOthers);
    this.#links = [...asked.filter((link) => !others.includes(link)), ...others, ...links.slice(asked.length)];
  }

  async authenticate(credentials: Credentials, signal?: AbortSignal): Promise<Identity> {
    let reason: SciStreamError | undefined;
    for (const link of this.#links) {
      try {
        return await link.authenticate(credentials, signal);
      } catch (error) {
        if (!SciStreamError.is(error) || !isRefusal(error)) throw error;
        if (!reason || rankOf(error) > rankOf(reason)) reason = error;
      }
    }
    throw reason ?? unauthenticated();
  }
}
