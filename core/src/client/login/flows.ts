import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import * as oauth from 'oauth4webapi';
import { printableLine, SciStreamError } from '../../contracts/errors.js';
import { asking, connectIssuer, toStored, type IssuerClient } from './issuer-client.js';
import { LoginStore, type StoredTokens } from './login-store.js';
import type { Login, LoginPrompt, LoginResult, ServerLogin } from './login.js';

/** Maximum time for the user to log in, ms. */
const LOGIN_TIMEOUT_MS = 600_000;
/** Default interval of polls, s (RFC 8628 section 3.5). */
const INTERVAL_S = 5;
/** Maximum initial interval of polls, s, whatever the issuer requests. */
const MAX_INTERVAL_S = 60;
const REDIRECT_PATH = '/callback';

/** Options of a login. */
export interface LoginOptions {
  /**
   * `device`: a browser on any machine (RFC 8628). `browser`: a browser on this machine (RFC 8252, with PKCE). Default:
   * `device` if the issuer offers it.
   */
  readonly method?: 'device' | 'browser' | undefined;
  /** Called once. */
  readonly onPrompt: (prompt: LoginPrompt) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Logs a user in and stores the tokens for later calls to the control server of the facility.
 * @throws SCI_ISSUER_UNREACHABLE; SCI_LOGIN_FAILED when the user or the issuer rejects the login or the time runs out;
 * the reason of `signal`
 */
export async function logIn(
  login: ServerLogin,
  options: LoginOptions,
  store = new LoginStore(login),
): Promise<LoginResult> {
  const { signal } = options;
  try {
    const issuer = await connectIssuer(login, signal);
    const offered = issuer.server.device_authorization_endpoint !== undefined;
    const method = options.method ?? (offered ? 'device' : 'browser');
    if (method === 'device' && !offered) throw noDeviceFlow(login);
    const answer = await (method === 'device' ? byDevice : byBrowser)(login, issuer, options);
    const tokens = toStored(answer);
    await store.exclusively(() => store.write(tokens));
    return resultOf(login, tokens);
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  }
}

/**
 * Ends a login: removes the tokens, and revokes them at the issuer (RFC 7009).
 * @returns Whether a login existed, and the error if it was not revoked.
 */
export async function logOut(
  login: ServerLogin,
  store = new LoginStore(login),
): Promise<{ readonly existed: boolean; readonly notRevoked?: SciStreamError }> {
  return await store.exclusively(async () => {
    // The file is removed even if it is damaged. Tokens of another login are not sent to this issuer.
    const tokens = await store.read().catch((error: unknown) => {
      if (SciStreamError.is(error)) return error;
      throw error;
    });
    await store.remove();
    if (!tokens || SciStreamError.is(tokens))
      return { existed: tokens !== undefined, ...(tokens && { notRevoked: tokens }) };
    try {
      await revoke(login, tokens);
      return { existed: true };
    } catch (error) {
      if (SciStreamError.is(error)) return { existed: true, notRevoked: error };
      throw error;
    }
  });
}

async function revoke(login: Login, { accessToken, refreshToken }: StoredTokens): Promise<void> {
  const { server, client, auth, options } = await connectIssuer(login);
  if (server.revocation_endpoint === undefined) {
    throw new SciStreamError(
      'SCI_LOGIN_FAILED',
      `The issuer ${login.issuer} does not revoke tokens. They stay valid until they expire.`,
      { suggestions: ['Ask the operator of the issuer to end the session if the tokens may be known to others.'] },
    );
  }
  const revokeOne = (token: string, hint: string): Promise<void> =>
    asking(login.issuer, async () => {
      const request = { ...options(), additionalParameters: { token_type_hint: hint } };
      await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, auth, token, request));
    });
  // The refresh token first, because it is valid for longer. An issuer may not support revocation of access tokens
  // (RFC 7009 section 2).
  if (refreshToken !== undefined) await revokeOne(refreshToken, 'refresh_token');
  const access = revokeOne(accessToken, 'access_token');
  await (refreshToken === undefined ? access : access.catch(() => undefined));
}

async function byDevice(login: Login, issuer: IssuerClient, { onPrompt, signal }: LoginOptions) {
  const { server, client, auth, options } = issuer;
  const parameters = { scope: login.scope, ...(login.resource !== undefined && { resource: login.resource }) };
  const device = await asking(login.issuer, async () => {
    const response = await oauth.deviceAuthorizationRequest(server, client, auth, parameters, options());
    return await oauth.processDeviceAuthorizationResponse(server, client, response);
  });
  const url = device.verification_uri_complete ?? device.verification_uri;
  onPrompt({ url: printableLine(url), code: printableLine(device.user_code) });
  const end = performance.now() + device.expires_in * 1000;
  for (let interval = Math.min(device.interval ?? INTERVAL_S, MAX_INTERVAL_S); performance.now() < end;) {
    await sleep(interval * 1000, undefined, signal && { signal });
    try {
      const response = await oauth.deviceCodeGrantRequest(server, client, auth, device.device_code, options());
      return await oauth.processDeviceCodeResponse(server, client, response);
    } catch (error) {
      const said = error instanceof oauth.ResponseBodyError ? error.error : '';
      if (said === 'slow_down') interval += INTERVAL_S;
      else if (said !== 'authorization_pending') await asking(login.issuer, () => Promise.reject(error as Error));
    }
  }
  throw timedOut(login);
}

async function byBrowser(login: Login, issuer: IssuerClient, { onPrompt, signal }: LoginOptions) {
  const { server, client, auth, options } = issuer;
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const listener = createServer();
  listener.listen(0, '127.0.0.1');
  try {
    await once(listener, 'listening');
    const redirect = `http://127.0.0.1:${(listener.address() as AddressInfo).port}${REDIRECT_PATH}`;
    const arrival = redirected(listener, redirect, state, signal);
    // It is awaited below, and can fail before.
    arrival.catch(() => undefined);
    onPrompt({ url: await authorizationUrl(login, issuer, { redirect, state, verifier }) });
    const back = await arrival;
    if (!back) throw timedOut(login);
    return await asking(login.issuer, async () => {
      const answer = oauth.validateAuthResponse(server, client, back, state);
      const request = [server, client, auth, answer, redirect, verifier, options()] as const;
      const response = await oauth.authorizationCodeGrantRequest(...request);
      return await oauth.processAuthorizationCodeResponse(server, client, response);
    });
  } finally {
    listener.close();
    listener.closeAllConnections();
  }
}

async function authorizationUrl(
  { issuer, client, scope, resource }: Login,
  { server }: IssuerClient,
  { redirect, state, verifier }: { readonly redirect: string; readonly state: string; readonly verifier: string },
): Promise<string> {
  if (server.authorization_endpoint === undefined) {
    throw new SciStreamError('SCI_LOGIN_FAILED', `The issuer ${issuer} has no authorization endpoint.`, {
      suggestions: ['Log in with a device code instead: scistream login --device'],
    });
  }
  const url = new URL(server.authorization_endpoint);
  const parameters = {
    client_id: client,
    redirect_uri: redirect,
    response_type: 'code',
    scope,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...(resource !== undefined && { resource }),
    // OpenID Connect Core section 11.
    ...(scope.split(' ').includes('offline_access') && { prompt: 'consent' }),
  };
  for (const [key, value] of Object.entries(parameters)) url.searchParams.set(key, value);
  return url.href;
}

/**
 * Waits for the redirect of the browser with our state, and answers other requests with 404. Undefined after the
 * timeout.
 */
function redirected(server: Server, redirect: string, state: string, signal?: AbortSignal): Promise<URL | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), LOGIN_TIMEOUT_MS);
    server.once('close', () => clearTimeout(timer));
    signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    server.on('request', (request: IncomingMessage, response) => {
      const target = `http://127.0.0.1${request.url ?? ''}`;
      const url = URL.canParse(target) ? new URL(target) : undefined;
      const ours = url?.pathname === REDIRECT_PATH && url.searchParams.get('state') === state;
      response.writeHead(ours ? 200 : 404, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' });
      response.end(ours ? 'Login complete. This window can be closed.\n' : 'Not found.\n');
      if (ours) resolve(new URL(`${redirect}${url.search}`));
    });
  });
}

const resultOf = ({ facility, issuer }: Login, { expiresAt, refreshToken }: StoredTokens): LoginResult => ({
  facility,
  issuer,
  ...(expiresAt !== undefined && { expiresAt }),
  renewable: refreshToken !== undefined,
});

const timedOut = ({ facility }: Login): SciStreamError =>
  new SciStreamError('SCI_LOGIN_FAILED', 'The login was not completed in time.', {
    suggestions: [`scistream login ${facility}`],
  });

const noDeviceFlow = ({ issuer, facility }: Login): SciStreamError =>
  new SciStreamError('SCI_LOGIN_FAILED', `Issuer ${issuer} does not support the device flow.`, {
    suggestions: [`scistream login ${facility} --browser`],
  });
