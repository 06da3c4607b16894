import { isIdentityName, type Identity } from '../contracts/authenticator.js';
import { quote, SciStreamError, type ErrorCode } from '../contracts/errors.js';

/** Requirements that a control server has for the tokens of an issuer. */
export interface ClaimRules {
  readonly issuer: string;
  /** The token must name one of these audiences. */
  readonly audience: readonly string[];
  /** The token must have all of these scopes. */
  readonly scope: readonly string[];
  /** Accepted difference between clocks, ms. */
  readonly clockSkew: number;
  /** Name of a claim, or its path with dots. */
  readonly subjectClaim: string;
  readonly groupsClaim: string;
  readonly admins: readonly string[];
  readonly adminGroups: readonly string[];
}

/** The claims of a token, from the token or from introspection. */
export type Claims = Readonly<Record<string, unknown>>;

const MAX_GROUPS = 1000;

/** The refusal of a token. Contains no secret of the token. */
export const refusal = (code: ErrorCode, message: string, suggestion?: string, cause?: unknown): SciStreamError =>
  new SciStreamError(code, message, {
    cause,
    suggestions: [suggestion ?? 'Log in again: scistream login FACILITY'],
  });

/**
 * The identity that a token stands for. Its issuer and times must have been checked.
 * @throws SCI_TOKEN_SCOPE, SCI_TOKEN_MALFORMED (no usable subject, groups of another type)
 */
export function identityFrom(claims: Claims, rules: ClaimRules): Identity {
  const scopes = new Set(words(claims['scope'] ?? claims['scp']));
  const missing = rules.scope.filter((one) => !scopes.has(one));
  if (missing.length > 0) {
    const need = `scope: ${rules.scope.join(' ')}`;
    throw refusal('SCI_TOKEN_SCOPE', `The token lacks the scope ${missing.join(' ')}.`, `Log in with ${need}.`);
  }
  const subject = valueAt(claims, rules.subjectClaim);
  if (typeof subject !== 'string' || !isIdentityName(subject)) {
    throw refusal('SCI_TOKEN_MALFORMED', `The token has no usable claim ${rules.subjectClaim}.`);
  }
  // A group with an unusable name cannot occur in rules, and gives no rights.
  const groups = groupsFrom(claims, rules.groupsClaim).filter(isIdentityName).slice(0, MAX_GROUPS);
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
 * Checks the answer of an introspection endpoint as jose checks a JWT.
 * @throws SCI_TOKEN_ISSUER, SCI_TOKEN_AUDIENCE, SCI_TOKEN_NOT_YET_VALID, SCI_TOKEN_EXPIRED, SCI_TOKEN_MALFORMED (times of
 * another type, which would not limit the token)
 */
export function checkClaims(claims: Claims, { issuer, audience, clockSkew }: ClaimRules, now = Date.now()): void {
  if (claims['iss'] !== undefined && claims['iss'] !== issuer) throw wrongIssuer(claims['iss'], issuer);
  const audiences = typeof claims['aud'] === 'string' ? [claims['aud']] : claims['aud'];
  if (!Array.isArray(audiences) || !audience.some((one) => audiences.includes(one))) throw wrongAudience(audience);
  const wrong = ['nbf', 'exp'].find((name) => !['number', 'undefined'].includes(typeof (claims[name] ?? undefined)));
  if (wrong !== undefined) throw refusal('SCI_TOKEN_MALFORMED', `The claim ${wrong} of the token is not a number.`);
  const [from, to] = [seconds(claims['nbf']), seconds(claims['exp'])];
  if (from !== undefined && from * 1000 > now + clockSkew) throw refusal('SCI_TOKEN_NOT_YET_VALID', NOT_YET, CLOCKS);
  if (to !== undefined && to * 1000 <= now - clockSkew) throw refusal('SCI_TOKEN_EXPIRED', 'The token has expired.');
}

/**
 * Rejects tokens that are not bearer access tokens, although the same issuer signed them for the same audience.
 * @throws SCI_TOKEN_MALFORMED for ID tokens (OpenID Connect Core section 2), logout tokens and other security events
 * (RFC 8417), and tokens that are bound to a key (RFC 7800)
 */
export function mustBeForBearer(claims: Claims): void {
  if (Object.hasOwn(claims, 'cnf')) {
    const message = 'The token is bound to a key or certificate (claim cnf), which this control server cannot check.';
    throw refusal('SCI_TOKEN_MALFORMED', message, 'Configure the issuer to issue bearer tokens for this facility.');
  }
  // A nonce proves nothing: some issuers put one into access tokens too.
  const other = ['at_hash', 'events'].find((name) => Object.hasOwn(claims, name));
  if (other !== undefined) throw notForAccess(`it has the claim ${other}`);
}

/** The refusal of a token of another kind. @param why The property that shows the kind */
export const notForAccess = (why: string): SciStreamError =>
  refusal(
    'SCI_TOKEN_MALFORMED',
    `The token is not an access token: ${why}.`,
    'Send the access token, not an ID token.',
  );

export const NOT_YET = 'The token is not valid yet.';
export const CLOCKS = 'Check the clocks of the control server and the issuer: timedatectl';

export const wrongIssuer = (found: unknown, wanted: string): SciStreamError =>
  refusal('SCI_TOKEN_ISSUER', `The issuer of the token is ${quote(found)}, but this facility trusts ${wanted}.`);

export const wrongAudience = (wanted: readonly string[]): SciStreamError =>
  refusal('SCI_TOKEN_AUDIENCE', 'The token is for another audience.', `Request the audience ${wanted.join(' or ')}.`);

/** A NumericDate of RFC 7519 section 2. Values out of the range of Date count as absent. */
export const seconds = (value: unknown): number | undefined =>
  typeof value === 'number' && Math.abs(value) < 1e11 ? value : undefined;

/** A claim by its name or, if no claim has that name, by its path with dots. */
function valueAt(claims: Claims, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path];
  let value: unknown = claims;
  for (const part of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Claims)[part];
  }
  return value;
}

/** A list of groups, or a text that names one group. Unlike a scope, a text is not split: names may contain blanks. */
function groupsFrom(claims: Claims, path: string): readonly string[] {
  const value = valueAt(claims, path) ?? [];
  const groups: unknown[] = Array.isArray(value) ? value : [value];
  if (groups.every((one) => typeof one === 'string')) return groups;
  const message = `The claim ${path} of the token is not a list of texts.`;
  throw refusal('SCI_TOKEN_MALFORMED', message, 'Set groupsClaim to a claim that holds group names.');
}

/** The scopes of a list or of a text separated by blanks (RFC 8693 section 4.2). */
function words(value: unknown): string[] {
  if (typeof value === 'string') return value.split(' ').filter(Boolean);
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
}
