import { decodeJwt, decodeProtectedHeader, errors, jwtVerify } from 'jose';
import { quote, SciStreamError } from '../contracts/errors.js';
import {
  CLOCKS,
  NOT_YET,
  notForAccess,
  refusal,
  wrongAudience,
  wrongIssuer,
  type ClaimRules,
  type Claims,
} from './claims.js';
import type { Issuer } from './issuer.js';

/** Signature algorithms with public keys: neither `none` nor shared secrets (RFC 8725 section 3.1). */
export const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
] as const;

/** Header `typ` of access tokens (RFC 9068 section 4), or of issuers that use one type for all tokens. */
const ACCESS_TOKEN = /^(application\/)?(at\+)?jwt$/i;

/** Checks JSON Web Tokens (RFC 7519, RFC 9068) with the keys of their issuer. Calls may overlap. */
export class JwtVerifier {
  constructor(
    private readonly issuer: Issuer,
    private readonly rules: ClaimRules,
    private readonly algorithms: readonly string[],
  ) {}

  /**
   * Verifies a token and returns its claims.
   * @throws SCI_TOKEN_MALFORMED, SCI_TOKEN_ISSUER, SCI_TOKEN_SIGNATURE, SCI_TOKEN_AUDIENCE, SCI_TOKEN_NOT_YET_VALID,
   * SCI_TOKEN_EXPIRED, SCI_ISSUER_UNREACHABLE
   */
  async claims(token: string): Promise<Claims> {
    this.#checkHeader(token);
    const { issuer, audience, clockSkew } = this.rules;
    try {
      const { payload } = await jwtVerify(token, this.issuer.key, {
        issuer,
        audience: [...audience],
        algorithms: [...this.algorithms],
        clockTolerance: clockSkew / 1000,
        requiredClaims: ['exp'],
      });
      return payload;
    } catch (error) {
      throw this.#explain(error);
    }
  }

  /** Runs before any key is fetched, so that invalid tokens cause no requests to the issuer. */
  #checkHeader(token: string): void {
    let alg: unknown;
    let typ: unknown;
    let iss: unknown;
    try {
      ({ alg, typ } = decodeProtectedHeader(token));
      iss = decodeJwt(token).iss;
    } catch (error) {
      throw malformed(error);
    }
    if (!this.algorithms.includes(String(alg))) {
      const accepted = `Accepted algorithms: ${this.algorithms.join(', ')}.`;
      throw refusal(
        'SCI_TOKEN_SIGNATURE',
        `The signature algorithm ${quote(alg)} of the token is not accepted.`,
        accepted,
      );
    }
    if (iss !== this.rules.issuer) throw wrongIssuer(iss, this.rules.issuer);
    if (typ !== undefined && !(typeof typ === 'string' && ACCESS_TOKEN.test(typ)))
      throw notForAccess(`its type is ${quote(typ)}`);
  }

  /** Translates errors of jose into error codes. */
  #explain(error: unknown): SciStreamError {
    if (SciStreamError.is(error)) return error;
    if (error instanceof errors.JWTExpired) return refusal('SCI_TOKEN_EXPIRED', 'The token has expired.');
    if (error instanceof errors.JWTClaimValidationFailed && error.reason === 'check_failed') {
      if (error.claim === 'aud') return wrongAudience(this.rules.audience);
      if (error.claim === 'nbf') return refusal('SCI_TOKEN_NOT_YET_VALID', NOT_YET, CLOCKS);
    }
    if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'aud') {
      return wrongAudience(this.rules.audience);
    }
    // Other errors come from node:crypto: the key cannot be used.
    if (!(error instanceof errors.JOSEError) || SIGNATURE_PROBLEMS.some((kind) => error instanceof kind)) {
      return refusal(
        'SCI_TOKEN_SIGNATURE',
        'The signature of the token is invalid, or its key is unknown.',
        undefined,
        error,
      );
    }
    return malformed(error);
  }
}

const SIGNATURE_PROBLEMS = [
  errors.JWSSignatureVerificationFailed,
  errors.JWKSNoMatchingKey,
  errors.JWKSMultipleMatchingKeys,
  errors.JOSEAlgNotAllowed,
];

const malformed = (cause: unknown): SciStreamError =>
  refusal(
    'SCI_TOKEN_MALFORMED',
    'The token is not a signed JSON Web Token with all required claims.',
    undefined,
    cause,
  );
