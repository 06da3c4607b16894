import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { decodeJwt } from 'jose';
import { LRUCache } from 'lru-cache';
import { SciStreamError } from '../contracts/errors.js';
import { sourceOf } from '../contracts/network.js';
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
/** Requests under way for tokens that were not active recently. The rest is reserved for the others. */
const MAX_UNKNOWN = 50;
/** Requests of one source among them. */
const MAX_OF_SOURCE = 10;
/** How long a token counts as recently active, ms. */
const RECENT_MS = 3_600_000;

interface Asked {
  readonly answer: Promise<Answer>;
  /** Undefined for a token that was active recently. */
  readonly source: string | undefined;
}

/** Introspects tokens at the issuer (RFC 7662) and caches the answers briefly. Calls may overlap. */
export class Introspector {
  /** By the hash of the token. Tokens themselves are not kept. */
  readonly #answers = new LRUCache<string, Answer>({ max: MAX_ANSWERS });
  readonly #open = new Map<string, Asked>();
  /** Hashes of tokens that were active recently. */
  readonly #recent = new LRUCache<string, true>({ max: MAX_ANSWERS, ttl: RECENT_MS });

  constructor(
    private readonly issuer: Issuer,
    private readonly settings: IntrospectionSettings,
  ) {}

  /**
   * @param peer IP address of the caller.
   * @throws SCI_TOKEN_INACTIVE, SCI_ISSUER_UNREACHABLE, SCI_TOKEN_MALFORMED, SCI_TOKEN_ISSUER; SCI_RATE_LIMITED while too
   * many tokens are being checked
   */
  async claims(token: string, peer: string): Promise<Claims> {
    // RFC 6750 section 2.1.
    if (!/^[A-Za-z0-9._~+/-]+=*$/.test(token)) throw refusal('SCI_TOKEN_MALFORMED', 'The token is not a bearer token.');
    mustNotBeOfAnother(this.issuer.settings.issuer, token);
    const key = createHash('sha256').update(token).digest('base64');
    const { claims } = this.#answers.get(key) ?? (await this.#askOnce(key, token, sourceOf(peer)));
    if (claims) return claims;
    throw refusal(
      'SCI_TOKEN_INACTIVE',
      'The issuer reports that the token is not active: revoked, expired, or of another issuer.',
    );
  }

  #askOnce(key: string, token: string, source: string): Promise<Answer> {
    const open = this.#open.get(key);
    if (open) return open.answer;
    const known = this.#recent.has(key);
    this.#mustHaveRoom(known ? undefined : source);
    const answer = this.#ask(token).then((answer) => {
      if (answer.ttl >= 1) this.#answers.set(key, answer, { ttl: answer.ttl });
      if (answer.claims) this.#recent.set(key, true);
      else this.#recent.delete(key);
      return answer;
    });
    this.#open.set(key, { answer, source: known ? undefined : source });
    const done = (): void => void this.#open.delete(key);
    answer.then(done, done);
    return answer;
  }

  /** @param source Undefined for a token that was active recently. @throws SCI_RATE_LIMITED */
  #mustHaveRoom(source: string | undefined): void {
    const unknown = [...this.#open.values()].flatMap((asked) => asked.source ?? []);
    const full =
      source === undefined
        ? this.#open.size >= MAX_OPEN
        : unknown.length >= MAX_UNKNOWN || unknown.filter((one) => one === source).length >= MAX_OF_SOURCE;
    if (!full) return;
    const what = source === undefined ? 'the control server' : 'callers without a recently accepted token';
    throw new SciStreamError('SCI_RATE_LIMITED', `Too many tokens of ${what} are being checked.`, {
      suggestions: ['Try again in a moment.'],
    });
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
