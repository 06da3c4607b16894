import * as oauth from 'oauth4webapi';
import { reasonOf, SciStreamError } from '../../contracts/errors.js';
import { issuerFetch } from './issuer-fetch.js';
import type { StoredTokens } from './login-store.js';
import type { Login } from './login.js';

/** Maximum lifetime of a token that is accepted from an issuer, s. */
const MAX_LIFETIME_S = 1e9;
/** Timeout of one request to an issuer, ms. */
const TIMEOUT_MS = 15_000;

/** An issuer, with the arguments of every request to it. */
export interface IssuerClient {
  readonly server: oauth.AuthorizationServer;
  readonly client: oauth.Client;
  readonly auth: oauth.ClientAuth;
  /** Creates the options of one request, with its own deadline. */
  readonly options: () => {
    readonly signal: AbortSignal;
    readonly [oauth.allowInsecureRequests]: boolean;
    readonly [oauth.customFetch]: typeof issuerFetch;
    readonly additionalParameters: Readonly<Record<string, string>>;
  };
}

/**
 * Requests the endpoints of an issuer (OpenID Connect Discovery). Plain text is used only for issuers on loopback,
 * because the configuration accepts no other http issuer.
 * @throws SCI_ISSUER_UNREACHABLE, SCI_LOGIN_FAILED
 */
export async function connectIssuer({ issuer, client, resource }: Login, signal?: AbortSignal): Promise<IssuerClient> {
  const url = new URL(issuer);
  const options = () => ({
    signal: AbortSignal.any([AbortSignal.timeout(TIMEOUT_MS), ...(signal ? [signal] : [])]),
    [oauth.allowInsecureRequests]: url.protocol === 'http:',
    [oauth.customFetch]: issuerFetch,
    additionalParameters: { ...(resource !== undefined && { resource }) },
  });
  const server = await asking(issuer, async () =>
    oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, options())),
  );
  return { server, client: { client_id: client }, auth: oauth.None(), options };
}

/** Runs a step of a login and converts its errors. @throws SCI_ISSUER_UNREACHABLE, SCI_LOGIN_FAILED */
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
    const said = `${error.error} ${error.error_description ?? ''}`.trim().slice(0, 300);
    return new SciStreamError('SCI_LOGIN_FAILED', `The issuer ${issuer} rejects the request: ${said}.`, {
      cause: error,
      suggestions: ['Check facilities.<name>.auth in the configuration, and log in again.'],
    });
  }
  const network = error instanceof TypeError || (error instanceof Error && error.name === 'TimeoutError');
  if (network || isServerError(error)) {
    return new SciStreamError('SCI_ISSUER_UNREACHABLE', `The issuer ${issuer} does not answer: ${reasonOf(error)}.`, {
      cause: error,
      suggestions: ['Retry in a moment. If the error stays, ask the operator of the facility about its issuer.'],
    });
  }
  if (error instanceof oauth.OperationProcessingError || error instanceof oauth.WWWAuthenticateChallengeError) {
    return new SciStreamError('SCI_LOGIN_FAILED', `The issuer ${issuer} sent an invalid answer: ${error.message}.`, {
      cause: error,
      suggestions: ['Check facilities.<name>.auth.issuer in the configuration.'],
    });
  }
  return error;
}

/** Whether the issuer, or a proxy in front of it, answered with a server error. */
const isServerError = (error: unknown): boolean =>
  error instanceof oauth.OperationProcessingError && error.cause instanceof Response && error.cause.status >= 500;

/**
 * Converts the tokens of an issuer.
 * @param before The replaced tokens. Without a new refresh token, the previous one stays valid (RFC 6749 section 6).
 */
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
