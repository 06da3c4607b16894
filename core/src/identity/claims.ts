import type { Identity } from '../contracts/authenticator.js';
import { quote, SciStreamError, type ErrorCode } from '../contracts/errors.js';

/** Whom a control server lets in with a token of an issuer. */
export interface ClaimRules {
  readonly issuer: string;
  /** One of them has to be among the audiences of the token. */
  readonly audience: readonly string[];
  /** The token needs all of them. */
  readonly scope: readonly string[];
  /** How far the clocks may be apart, ms. */
  readonly clockSkew: number;
  /** Name of the claim, or its path with dots. */
  readonly subjectClaim: string;
  readonly groupsClaim: string;
  readonly admins: readonly string[];
  readonly adminGroups: readonly string[];
}

/** The claims of a token, or what introspection says of it. */
export type Claims = Readonly<Record<string, unknown>>;

const MAX_TEXT = 200;
const MAX_GROUPS = 1000;

/** Why a token is refused; never says anything of it that is secret. */
export const refusal = (code: ErrorCode, message: string, suggestion?: string, cause?: unknown): SciStreamError =>
  new SciStreamError(code, message, {
    cause,
    suggestions: [suggestion ?? 'Log in again: scistream login FACILITY'],
  });

/**
 * Who a token is about, once its issuer and its time have been checked.
 * @throws SCI_TOKEN_SCOPE, SCI_TOKEN_MALFORMED (no usable subject)
 */
export function identityFrom(claims: Claims, rules: ClaimRules): Identity {
  const scopes = new Set(words(claims['scope'] ?? claims['scp']));
  const missing = rules.scope.filter((one) => !scopes.has(one));
  if (missing.length > 0) {
    const need = `scope: ${rules.scope.join(' ')}`;
    throw refusal('SCI_TOKEN_SCOPE', `The token lacks the scope ${missing.join(' ')}.`, `Log in with ${need}`);
  }
  const subject = valueAt(claims, rules.subjectClaim);
  if (typeof subject !== 'string' || !isName(subject)) {
    throw refusal('SCI_TOKEN_MALFORMED', `The token has no usable claim ${rules.subjectClaim}.`);
  }
  const groups = words(valueAt(claims, rules.groupsClaim)).filter(isName).slice(0, MAX_GROUPS);
  const admin = rules.admins.includes(subject) || groups.some((group) => rules.adminGroups.includes(group));
  const ends = seconds(claims['exp']);
  return {
    subject,
    issuer: rules.issuer,
    admin,
    ...(groups.length > 0 && { groups }),
    ...(ends !== undefined && { expiresAt: new Date(ends * 1000).toISOString() }),
  };
}

/**
 * What jose checks of a JWT, for an answer of an introspection endpoint.
 * @throws SCI_TOKEN_ISSUER, SCI_TOKEN_AUDIENCE, SCI_TOKEN_NOT_YET_VALID, SCI_TOKEN_EXPIRED
 */
export function checkClaims(claims: Claims, { issuer, audience, clockSkew }: ClaimRules, now = Date.now()): void {
  if (claims['iss'] !== undefined && claims['iss'] !== issuer) throw wrongIssuer(claims['iss'], issuer);
  const audiences = typeof claims['aud'] === 'string' ? [claims['aud']] : claims['aud'];
  if (!Array.isArray(audiences) || !audience.some((one) => audiences.includes(one))) throw wrongAudience(audience);
  const [from, to] = [seconds(claims['nbf']), seconds(claims['exp'])];
  if (from !== undefined && from * 1000 > now + clockSkew) throw refusal('SCI_TOKEN_NOT_YET_VALID', NOT_YET, CLOCKS);
  if (to !== undefined && to * 1000 <= now - clockSkew) throw refusal('SCI_TOKEN_EXPIRED', 'The token has expired.');
}

/**
 * An issuer signs more than access tokens, for the same audience perhaps, and some access tokens are of use only together
 * with a key, which nobody asks for here.
 * @throws SCI_TOKEN_MALFORMED for ID tokens (OpenID Connect Core section 2), logout tokens and other security events
 * (RFC 8417), and tokens that are bound to a key (RFC 7800)
 */
export function mustBeForBearer(claims: Claims): void {
  if (Object.hasOwn(claims, 'cnf')) {
    const message = 'The token is bound to a key or certificate (claim cnf), which is not checked here.';
    throw refusal('SCI_TOKEN_MALFORMED', message, 'Have the issuer give bearer tokens for this facility.');
  }
  // A nonce alone tells nothing: some issuers put it into access tokens, too.
  const other = ['at_hash', 'events'].find((name) => Object.hasOwn(claims, name));
  if (other !== undefined) throw notForAccess(`it has the claim ${other}`);
}

/** @param why How that shows. */
export const notForAccess = (why: string): SciStreamError =>
  refusal('SCI_TOKEN_MALFORMED', `The token is no access token: ${why}.`, 'Send the access token, not an ID token.');

export const NOT_YET = 'The token is not valid yet.';
export const CLOCKS = 'Compare the clock of the control server with that of the issuer: timedatectl';

export const wrongIssuer = (found: unknown, wanted: string): SciStreamError =>
  refusal('SCI_TOKEN_ISSUER', `The token is of the issuer ${quote(found)}; this facility trusts ${wanted}.`);

export const wrongAudience = (wanted: readonly string[]): SciStreamError =>
  refusal('SCI_TOKEN_AUDIENCE', 'The token is meant for another audience.', `Ask for audience ${wanted.join(' or ')}`);

/** NumericDate of RFC 7519 section 2. Out of the range of Date counts as absent. */
export const seconds = (value: unknown): number | undefined =>
  typeof value === 'number' && Math.abs(value) < 1e11 ? value : undefined;

/** A claim by its name, or by its path with dots where there is none of that name. */
function valueAt(claims: Claims, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path];
  let value: unknown = claims;
  for (const part of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Claims)[part];
  }
  return value;
}

/** A list, or text with blanks between (RFC 8693 section 4.2). */
function words(value: unknown): string[] {
  if (typeof value === 'string') return value.split(' ').filter(Boolean);
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
}

/** Something that can stand in a record, a rule and a log. */
const isName = (text: string): boolean => text.length > 0 && text.length <= MAX_TEXT && !/[\p{Cc}\p{Cf}]/u.test(text);
