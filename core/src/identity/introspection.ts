import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { decodeJwt } from 'jose';
import { LRUCache } from 'lru-cache';
import { mustBeTrusted } from '../contracts/trust.js';
import { refusal, seconds, wrongIssuer, type Claims } from './claims.js';
import type { Issuer } from './issuer.js';

/** Key `introspection` of the options. */
export interface IntrospectionSettings {
  /** Client id of the control server at the issuer. */
  readonly clientId: string;
  readonly secretFile?: string | undefined;
  readonly secretEnv?: string | undefined;
  /** Default: the endpoint in the metadata of the issuer. */
  readonly endpoint?: string | undefined;
  /** How long an answer is cached, ms. A revoked token is accepted for at most this time. */
  readonly cache: number;
}

/** An answer of the issuer. */
interface Answer {
  /** Undefined for a token that is not active. */
  readonly claims: Claims | undefined;
  /** How long the answer may be used, ms. */
  readonly ttl: number;
}

const MAX_ANSWERS = 10_000;
/** Introspection requests under way at a time. */
const MAX_OPEN = 100;

/** Introspects tokens at the issuer (RFC 7662) and caches the answers briefly. Calls may overlap. */
export class Introspector {
  /** By the hash of the token. Tokens themselves are not kept. */
  readonly #answers = new LRUCache<string, Answer>({ max: MAX_ANSWERS });
  readonly #open = new Map<string, Promise<Answer>>();

  constructor(
    private readonly issuer: Issuer,
    private readonly settings: IntrospectionSettings,
  ) {}

  /** @throws SCI_TOKEN_INACTIVE, SCI_ISSUER_UNREACHABLE, SCI_TOKEN_MALFORMED, SCI_TOKEN_ISSUER */
  async claims(token: string): Promise<Claims> {
    // RFC 6750 section 2.1.
    if (!/^[A-Za-z0-9._~+/-]+=*$/.test(token)) throw refusal('SCI_TOKEN_MALFORMED', 'The token is not a bearer token.');
    mustNotBeOfAnother(this.issuer.settings.issuer, token);
    const key = createHash('sha256').update(token).digest('base64');
    const { claims } = this.#answers.get(key) ?? (await this.#askOnce(key, token));
    if (claims) return claims;
    throw refusal(
      'SCI_TOKEN_INACTIVE',
      'The issuer reports that the token is not active: revoked, expired, or of another issuer.',
    );
  }

  #askOnce(key: string, token: string): Promise<Answer> {
    const open = this.#open.get(key);
    if (open) return open;
    if (this.#open.size >= MAX_OPEN) {
      return Promise.reject(
        this.issuer.unreachable(undefined, `${MAX_OPEN} introspection requests are already under way`),
      );
    }
    const asked = this.#ask(token).then((answer) => {
      if (answer.ttl >= 1) this.#answers.set(key, answer, { ttl: answer.ttl });
      return answer;
    });
    this.#open.set(key, asked);
    const done = (): void => void this.#open.delete(key);
    asked.then(done, done);
    return asked;
  }

  async #ask(token: string): Promise<Answer> {
    const asked = Date.now();
    const endpoint = this.settings.endpoint ?? (await this.issuer.metadata()).introspection_endpoint;
    try {
      if (endpoint === undefined)
        throw new Error('the issuer has no introspection endpoint; set introspection.endpoint');
      const response = await fetch(endpoint, {
        method: 'POST',
        headers: { authorization: `Basic ${await this.#credentials()}`, accept: 'application/json' },
        body: new URLSearchParams({ token, token_type_hint: 'access_token' }),
        redirect: 'error',
        signal: AbortSignal.timeout(this.issuer.settings.timeout),
      });
      if (response.status !== 200) throw new Error(`the introspection endpoint answered ${response.status}`);
      const claims = (await response.json()) as Claims | null;
      if (typeof claims !== 'object' || typeof claims?.['active'] !== 'boolean') throw new Error('no RFC 7662 answer');
      const left = asked + this.settings.cache - Date.now();
      if (!claims['active']) return { claims: undefined, ttl: left };
      const ends = seconds(claims['exp']) ?? Infinity;
      return { claims, ttl: Math.min(left, ends * 1000 - Date.now()) };
    } catch (error) {
      throw this.issuer.unreachable(error);
    }
  }

  /** RFC 6749 section 2.3.1. Read for every request, so that a new secret takes effect immediately. */
  async #credentials(): Promise<string> {
    const { clientId, secretFile, secretEnv = '' } = this.settings;
    if (secretFile !== undefined) mustBeTrusted(secretFile, { secret: 'group' });
    const secret = secretFile === undefined ? process.env[secretEnv] : (await readFile(secretFile, 'utf8')).trim();
    if (!secret) throw new Error(`${secretFile ?? `the variable ${secretEnv}`} contains no secret`);
    const encode = (text: string): string => encodeURIComponent(text).replaceAll('%20', '+');
    return Buffer.from(`${encode(clientId)}:${encode(secret)}`).toString('base64');
  }
}

/** A token that names its issuer must not be sent to another one. @throws SCI_TOKEN_ISSUER */
function mustNotBeOfAnother(issuer: string, token: string): void {
  let iss: unknown;
  try {
    iss = decodeJwt(token).iss;
  } catch {
    // Not a readable JWT: only the issuer can check it.
    return;
  }
  if (iss !== undefined && iss !== issuer) throw wrongIssuer(iss, issuer);
}
