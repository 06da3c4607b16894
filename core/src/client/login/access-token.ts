import * as oauth from 'oauth4webapi';
import { SciStreamError } from '../../contracts/errors.js';
import { asking, connectIssuer, toStored } from './issuer-client.js';
import { LoginStore, type StoredTokens } from './login-store.js';
import { loginRequired, type Login, type ServerLogin } from './login.js';

/** Time before its end at which a token is renewed, ms; at most a third of its lifetime. */
const MARGIN_MS = 60_000;

/**
 * Returns the access token of a login, and renews it when it is near its end. One process of the user renews it; the
 * others wait. Only calls to the control server of the login may send the token.
 * @throws SCI_LOGIN_REQUIRED; SCI_ISSUER_UNREACHABLE when the token has expired and the issuer does not answer
 */
export async function accessToken(login: ServerLogin, store = new LoginStore(login)): Promise<string> {
  const tokens = await existing(store);
  if (!isNearEnd(tokens)) return tokens.accessToken;
  return await store.exclusively(async () => {
    const now = await existing(store);
    if (!isNearEnd(now)) return now.accessToken;
    try {
      const renewed = await renew(login, now);
      await store.write(renewed);
      return renewed.accessToken;
    } catch (error) {
      if (!hasEnded(now) && SciStreamError.is(error)) return now.accessToken;
      throw error;
    }
  });
}

async function existing(store: LoginStore): Promise<StoredTokens> {
  const { login } = store;
  const tokens = await store.read();
  if (!tokens) throw loginRequired(login, `You are not logged in to ${login.facility}.`);
  if (tokens.server === login.server) return tokens;
  const bound =
    tokens.server === undefined ? 'was made for an unknown control server' : `was made for ${tokens.server}`;
  throw loginRequired(login, `The login for ${login.facility} ${bound}, but the configuration has ${login.server}.`);
}

async function renew(login: Login, tokens: StoredTokens): Promise<StoredTokens> {
  const { refreshToken } = tokens;
  if (refreshToken === undefined) throw loginRequired(login, `The login for ${login.facility} has expired.`);
  const { server, client, auth, options } = await connectIssuer(login);
  const answer = await asking(login.issuer, async () => {
    const response = await oauth.refreshTokenGrantRequest(server, client, auth, refreshToken, options());
    return await oauth.processRefreshTokenResponse(server, client, response);
  }).catch((error: unknown) => {
    if (!SciStreamError.is(error) || error.code !== 'SCI_LOGIN_FAILED') throw error;
    throw loginRequired(login, `The issuer no longer renews the login for ${login.facility}.`, error);
  });
  return toStored(answer, tokens);
}

function isNearEnd({ obtainedAt, expiresAt }: StoredTokens): boolean {
  if (expiresAt === undefined) return false;
  const end = Date.parse(expiresAt);
  return Date.now() > end - Math.min(MARGIN_MS, (end - Date.parse(obtainedAt)) / 3);
}

const hasEnded = ({ expiresAt }: StoredTokens): boolean =>
  expiresAt !== undefined && Date.now() >= Date.parse(expiresAt);
