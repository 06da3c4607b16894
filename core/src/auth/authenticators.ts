import { createHash, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { Authenticator, Credentials, Identity } from '../authenticator.js';
import { SciStreamError } from '../errors.js';
import { authenticatorProvider } from '../plugin.js';

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
    authenticate: (): Promise<Identity> => Promise.resolve({ subject: 'anonymous', issuer: 'none', admin: false }),
  }),
});

const tokenOptions = z.strictObject({
  /** Who may call, and the SHA-256 of the token of each: `printf %s TOKEN | sha256sum`. */
  tokens: z
    .array(
      z.strictObject({
        subject: z.string().min(1).max(200),
        sha256: z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits'),
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
      const hash = createHash('sha256').update(token).digest();
      const found = tokens.find(({ sha256 }) => timingSafeEqual(Buffer.from(sha256, 'hex'), hash));
      if (!found) return Promise.reject(unauthenticated());
      const { subject, admin, groups } = found;
      return Promise.resolve({ subject, issuer: 'token', admin, ...(groups && { groups }) });
    },
  }),
});

/** Asks one authenticator after another; the first that knows the caller decides. */
export class AuthenticatorChain implements Authenticator {
  readonly id = 'chain';

  constructor(private readonly links: readonly Authenticator[]) {}

  async authenticate(credentials: Credentials, signal?: AbortSignal): Promise<Identity> {
    for (const link of this.links) {
      try {
        return await link.authenticate(credentials, signal);
      } catch (error) {
        if (!SciStreamError.is(error) || error.code !== 'SCI_UNAUTHENTICATED') throw error;
      }
    }
    throw unauthenticated();
  }
}
