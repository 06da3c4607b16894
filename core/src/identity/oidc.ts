import { z } from 'zod';
import { duration, text } from '../config/fields.js';
import { isSafeUrl, parseIssuer } from '../config/issuer-url.js';
import type { Authenticator, Credentials, Identity } from '../contracts/authenticator.js';
import { reasonOf, SciStreamError } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import { authenticatorProvider } from '../contracts/plugin.js';
import { checkClaims, identityFrom, mustBeForBearer, refusal, type Claims } from './claims.js';
import { Introspector } from './introspection.js';
import { Issuer } from './issuer.js';
import { ALGORITHMS, JwtVerifier } from './jwt.js';

const name = z.string().min(1).max(200);
const names = z.array(name).prefault([]);

const introspection = z
  .strictObject({
    clientId: name,
    secretFile: z.string().min(1).optional(),
    secretEnv: z
      .string()
      .regex(/^[A-Za-z_]\w*$/, 'is not the name of an environment variable')
      .optional(),
    endpoint: z.string().refine(isSafeUrl, 'is not an https URL').optional(),
    cache: duration.prefault('1m'),
  })
  .refine(
    ({ secretFile, secretEnv }) => (secretFile === undefined) !== (secretEnv === undefined),
    'needs either secretFile or secretEnv',
  );

const oidcOptions = z.strictObject({
  issuer: text(parseIssuer),
  audience: z.union([name.transform((one) => [one]), z.array(name).min(1)]),
  scope: z
    .string()
    .transform((list) => list.split(' ').filter(Boolean))
    .prefault(''),
  algorithms: z
    .array(z.enum(ALGORITHMS))
    .min(1)
    .prefault([...ALGORITHMS]),
  clockSkew: duration.prefault('30s'),
  subjectClaim: name.prefault('sub'),
  groupsClaim: name.prefault('groups'),
  admins: names,
  adminGroups: names,
  timeout: duration.prefault('5s'),
  keys: z
    .strictObject({
      maxAge: duration.prefault('10m'),
      cooldown: duration.prefault('30s'),
      maxStale: duration.prefault('1h'),
    })
    .prefault({}),
  introspection: introspection.optional(),
});

type OidcOptions = z.output<typeof oidcOptions>;

/** Tokens of an OpenID Connect issuer: JSON Web Tokens verified locally, or any tokens by introspection. */
export const oidcProvider = authenticatorProvider({
  id: 'oidc',
  options: oidcOptions,
  create: ({ log }, options: OidcOptions): Authenticator => new OidcAuthenticator(options, log),
});

class OidcAuthenticator implements Authenticator {
  readonly id = 'oidc';
  readonly isRemote: boolean;
  readonly #verifier: { claims(token: string, peer: string): Promise<Claims> };

  constructor(
    private readonly options: OidcOptions,
    private readonly log: Logger,
  ) {
    const issuer = new Issuer(options, (reason) =>
      log.warn({ issuer: options.issuer, reason }, 'issuer unreachable, using cached keys'),
    );
    this.isRemote = options.introspection !== undefined;
    this.#verifier = options.introspection
      ? new Introspector(issuer, options.introspection)
      : new JwtVerifier(issuer, options, options.algorithms);
  }

  async authenticate({ token, peer }: Credentials): Promise<Identity> {
    if (token === '') throw refusal('SCI_TOKEN_MISSING', 'The call has no token.');
    try {
      const claims = await this.#verifier.claims(token, peer);
      if (this.options.introspection) checkClaims(claims, this.options);
      mustBeForBearer(claims);
      return identityFrom(claims, this.options);
    } catch (error) {
      if (SciStreamError.is(error) && error.code === 'SCI_ISSUER_UNREACHABLE') {
        this.log.warn(
          { issuer: this.options.issuer, reason: reasonOf(error) },
          'token not checked, issuer unreachable',
        );
      }
      throw error;
    }
  }
}
