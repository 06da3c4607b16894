import * as oauth from 'oauth4webapi';
import { messageOf, SciStreamError } from '../../contracts/errors.js';
import { printable } from '../../wire/errors.js';
import type { StoredTokens } from './login-store.js';
import type { Login } from './login.js';

/** The longest life of a token that is believed, s. */
const MAX_LIFETIME_S = 1e9;
/** For one answer of an issuer, ms. */
const TIMEOUT_MS = 15_000;

/** What every request to an issuer needs. */
export interface IssuerClient {
  readonly server: oauth.AuthorizationServer;
  readonly client: oauth.Client;
  readonly auth: oauth.ClientAuth;
  /** Of a request; made anew for each, because it has a deadline. */
  readonly options: () => {
    readonly signal: AbortSignal;
    readonly [oauth.allowInsecureRequests]: boolean;
    readonly additionalParameters: Readonly<Record<string, string>>;
  };
}

/**
 * Asks an issuer for its endpoints (OpenID Connect Discovery). Requests in plain text are made to issuers on loopback
 * only, for there is no other http issuer in a configuration.
 * @throws SCI_ISSUER_UNREACHABLE, SCI_LOGIN_FAILED
 */
export async function connectIssuer({ issuer, client, resource }: Login, signal?: AbortSignal): Promise<IssuerClient> {
  const url = new URL(issuer);
  const options = () => ({
    signal: AbortSignal.any([AbortSignal.timeout(TIMEOUT_MS), ...(signal ? [signal] : [])]),
    [oauth.allowInsecureRequests]: url.protocol === 'http:',
    additionalParameters: { ...(resource !== undefined && { resource }) },
  });
  const server = await asking(issuer, async () =>
    oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, options())),
  );
  return { server, client: { client_id: client }, auth: oauth.None(), options };
}

/** Runs a step of a login and turns what goes wrong into our codes. */
export async function asking<T>(issuer: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    throw explain(issuer, error);
  }
}

function explain(issuer: string, error: unknown): unknown {
  if (SciStreamError.is(error)) return error;
  if (error instanceof oauth.ResponseBodyError || error instanceof oauth.AuthorizationResponseError) {
    const said = printable(`${error.error} ${error.error_description ?? ''}`).slice(0, 300);
    return new SciStreamError('SCI_LOGIN_FAILED', `Issuer ${issuer} denies the request: ${said}.`, {
      cause: error,
      suggestions: [
        'Check issuer, client, scope and resource of the facility in the configuration, then log in again.',
      ],
    });
  }
  const network = error instanceof TypeError || (error instanceof Error && error.name === 'TimeoutError');
  if (network || isServerError(error)) {
    const reason = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return new SciStreamError('SCI_ISSUER_UNREACHABLE', `Issuer ${issuer} does not answer: ${messageOf(reason)}.`, {
      cause: error,
      suggestions: ['Try again in a moment.'],
    });
  }
  if (error instanceof oauth.OperationProcessingError || error instanceof oauth.WWWAuthenticateChallengeError) {
    return new SciStreamError('SCI_LOGIN_FAILED', `Issuer ${issuer} violates the protocol: ${error.message}.`, {
      cause: error,
      suggestions: ['Check the key issuer of the facility in the configuration.'],
    });
  }
  return error;
}

/** An answer that is no answer: a proxy or the issuer itself is out of order. */
const isServerError = (error: unknown): boolean =>
  error instanceof oauth.OperationProcessingError && error.cause instanceof Response && error.cause.status >= 500;

/** @param before Tokens these replace; an issuer may leave the refresh token as it is (RFC 6749 section 6). */
export function toStored(answer: oauth.TokenEndpointResponse, before?: StoredTokens): StoredTokens {
  const {
    access_token: accessToken,
    refresh_token: refreshToken = before?.refreshToken,
    expires_in: lifetime,
  } = answer;
  const now = Date.now();
  return {
    accessToken,
    ...(refreshToken !== undefined && { refreshToken }),
    obtainedAt: new Date(now).toISOString(),
    ...(lifetime !== undefined && {
      expiresAt: new Date(now + Math.min(lifetime, MAX_LIFETIME_S) * 1000).toISOString(),
    }),
  };
}
