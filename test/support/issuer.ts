import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';
import Provider from 'oidc-provider';

/** Audience of tokens that are JWTs. */
export const JWT_RESOURCE = 'https://stream.example';
/** Audience of opaque tokens, which only the issuer understands. */
export const OPAQUE_RESOURCE = 'https://opaque.example';
/** Audience of tokens for another service. */
export const OTHER_RESOURCE = 'https://other.example';
/** Client that logs in for a user. */
export const CLI = 'scistream-cli';
/** Client with a secret: obtains tokens for itself and may introspect tokens. */
export const ROBOT = { id: 'robot', secret: 'robot:secret/1%' };
/** The user that logs in, whatever the browser does. */
export const USER = 'alice';
const SCOPE = 'scistream';

/** Settings of the issuer. */
export interface IssuerOptions {
  /** Lifetime of access tokens, s; default 10 min. */
  readonly tokenSeconds?: number;
  readonly groups?: readonly string[];
  /** Signature algorithm; default ES256. */
  readonly algorithm?: 'ES256' | 'RS256' | undefined;
}

/** A real OpenID Connect issuer (oidc-provider) on loopback, whose users consent to everything or to nothing. */
export class TestIssuer implements AsyncDisposable {
  #answer: RequestListener = unavailable;
  #key: CryptoKey | undefined;
  #kid = 0;
  #stopped = false;
  /** Whether users refuse consent. */
  denies = false;
  /** Requested paths, in order. */
  readonly requests: string[] = [];

  private constructor(
    readonly url: string,
    private readonly server: Server,
    private readonly options: IssuerOptions,
  ) {}

  static async start(options: IssuerOptions = {}): Promise<TestIssuer> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const issuer = new TestIssuer(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, server, options);
    server.on('request', (request, response) => issuer.#serve(request, response));
    await issuer.rotate();
    return issuer;
  }

  /** Replaces the signing key and forgets all state. */
  async rotate(): Promise<void> {
    const { privateKey } = await generateKeyPair(this.#algorithm, { extractable: true });
    this.#kid += 1;
    this.#key = privateKey;
    const jwk = { ...(await exportJWK(privateKey)), kid: `key-${this.#kid}`, use: 'sig', alg: this.#algorithm };
    const provider = new Provider(this.url, configuration(jwk, this.options));
    const answer = provider.callback();
    this.#answer = (request, response) => {
      if (!request.url?.startsWith('/interaction/')) return void answer(request, response);
      void this.#interact(provider, request, response);
    };
  }

  /** Answers every request with an error from now on. */
  stop(): void {
    this.#stopped = true;
  }

  resume(): void {
    this.#stopped = false;
  }

  /** A token that the issuer gives to the robot. */
  async token(resource = JWT_RESOURCE, scope = SCOPE): Promise<string> {
    const answer = await this.#post('/token', { grant_type: 'client_credentials', resource, scope });
    const { access_token: token } = (await answer.json()) as { access_token?: string };
    if (token === undefined) throw new Error(`no token: ${answer.status}`);
    return token;
  }

  async revoke(token: string): Promise<void> {
    const { status } = await this.#post('/token/revocation', { token });
    if (status !== 200) throw new Error(`not revoked: ${status}`);
  }

  /** Whether a refresh token is still valid. Consumes it. */
  async redeems(refreshToken: string): Promise<boolean> {
    const body = new URLSearchParams({ grant_type: 'refresh_token', client_id: CLI, refresh_token: refreshToken });
    const answer = await fetch(`${this.url}/token`, { method: 'POST', body });
    if (answer.ok || answer.status === 400) return answer.ok;
    throw new Error(`the issuer answered ${answer.status}`);
  }

  /** Number of token requests. */
  get tokenRequests(): number {
    return this.requests.filter((path) => path === '/token').length;
  }

  /** A token with any claims, signed with the issuer's key. Undefined claims are left out. */
  forge(claims: Readonly<Record<string, unknown>> = {}, key = this.#key, header: object = {}): Promise<string> {
    if (!key) throw new Error('no key');
    const now = Math.floor(Date.now() / 1000);
    const usual = { iss: this.url, sub: USER, aud: JWT_RESOURCE, scope: SCOPE, iat: now, exp: now + 600 };
    return new SignJWT({ ...usual, ...claims })
      .setProtectedHeader({ alg: this.#algorithm, kid: `key-${this.#kid}`, ...header })
      .sign(key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.closeAllConnections();
    const closed = once(this.server, 'close');
    this.server.close();
    await closed;
  }

  get #algorithm(): 'ES256' | 'RS256' {
    return this.options.algorithm ?? 'ES256';
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(request.url ?? '');
    (this.#stopped ? unavailable : this.#answer)(request, response);
  }

  /** Logs the user in and consents immediately. */
  async #interact(provider: Provider, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { params } = await provider.interactionDetails(request, response);
    if (this.denies) return provider.interactionFinished(request, response, { error: 'access_denied' });
    const grant = new provider.Grant({ accountId: USER, clientId: String(params['client_id']) });
    grant.addOIDCScope(`openid offline_access ${SCOPE}`);
    for (const resource of [JWT_RESOURCE, OPAQUE_RESOURCE]) grant.addResourceScope(resource, SCOPE);
    const result = { login: { accountId: USER }, consent: { grantId: await grant.save() } };
    await provider.interactionFinished(request, response, result);
  }

  #post(path: string, form: Record<string, string>): Promise<Response> {
    const secret = Buffer.from(`${ROBOT.id}:${encodeURIComponent(ROBOT.secret)}`).toString('base64');
    const headers = { authorization: `Basic ${secret}` };
    return fetch(`${this.url}${path}`, { method: 'POST', headers, body: new URLSearchParams(form) });
  }
}

const unavailable: RequestListener = (_request, response) => void response.writeHead(503).end();

function configuration(
  jwk: JWK,
  { tokenSeconds = 600, groups = ['beamline-7'], algorithm = 'ES256' }: IssuerOptions,
): object {
  const formats: Readonly<Record<string, string>> = { [OPAQUE_RESOURCE]: 'opaque' };
  const native = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'];
  const yes = { enabled: true };
  return {
    jwks: { keys: [jwk] },
    cookies: { keys: ['only for tests'] },
    scopes: ['openid', 'offline_access', SCOPE],
    clients: [
      {
        client_id: CLI,
        token_endpoint_auth_method: 'none',
        application_type: 'native',
        grant_types: native,
        response_types: ['code'],
        redirect_uris: ['http://127.0.0.1/callback'],
        id_token_signed_response_alg: algorithm,
      },
      {
        client_id: ROBOT.id,
        client_secret: ROBOT.secret,
        id_token_signed_response_alg: algorithm,
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
      },
    ],
    findAccount: (_context: unknown, id: string) => ({ accountId: id, claims: () => ({ sub: id }) }),
    extraTokenClaims: () => ({ groups: [...groups] }),
    rotateRefreshToken: true,
    ttl: { ClientCredentials: tokenSeconds },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: yes,
      revocation: yes,
      introspection: { enabled: true, allowedPolicy: () => true },
      deviceFlow: yes,
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_context: unknown, resource: string) => ({
          scope: SCOPE,
          audience: resource,
          accessTokenTTL: tokenSeconds,
          accessTokenFormat: formats[resource] ?? 'jwt',
          jwt: { sign: { alg: algorithm } },
        }),
      },
    },
  };
}
