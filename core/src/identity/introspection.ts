import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { decodeJwt } from 'jose';
import { refusal, seconds, wrongIssuer, type Claims } from './claims.js';
import type { Issuer } from './issuer.js';

/** Key `introspection` of the options. */
export interface IntrospectionSettings {
  /** The control server, as the issuer knows it. */
  readonly clientId: string;
  readonly secretFile?: string | undefined;
  readonly secretEnv?: string | undefined;
  /** Default: what the metadata of the issuer names. */
  readonly endpoint?: string | undefined;
  /** For how long an answer holds, ms: a revoked token is refused that much later at most. */
  readonly cache: number;
}

interface Answer {
  /** ms since the epoch. */
  readonly until: number;
  /** Undefined: not active. */
  readonly claims: Claims | undefined;
}

/** How many answers are kept. */
const MAX_ANSWERS = 10_000;
/** How many questions may wait for the issuer, whoever sends tokens. */
const MAX_OPEN = 100;

/** Asks the issuer what a token is worth (RFC 7662), and remembers the answer briefly. Calls may overlap. */
export class Introspector {
  /** By the hash of the token, oldest first: tokens themselves are not kept. */
  readonly #answers = new Map<string, Answer>();
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
    const known = this.#answers.get(key);
    const { claims } = known && known.until > Date.now() ? known : await this.#askOnce(key, token);
    if (claims) return claims;
    throw refusal(
      'SCI_TOKEN_INACTIVE',
      'The issuer says that the token is not active: revoked, expired, or not its own.',
    );
  }

  #askOnce(key: string, token: string): Promise<Answer> {
    const open = this.#open.get(key);
    if (open) return open;
    if (this.#open.size >= MAX_OPEN) {
      return Promise.reject(this.issuer.unreachable(undefined, `${MAX_OPEN} tokens wait for the issuer already`));
    }
    const asked = this.#ask(token).then((answer) => {
      this.#keep(key, answer);
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
      if (!claims['active']) return { until: asked + this.settings.cache, claims: undefined };
      const ends = seconds(claims['exp']) ?? Infinity;
      return { until: Math.min(asked + this.settings.cache, ends * 1000), claims };
    } catch (error) {
      throw this.issuer.unreachable(error);
    }
  }

  /** RFC 6749 section 2.3.1. Read for every question, so that a new secret is used at once. */
  async #credentials(): Promise<string> {
    const { clientId, secretFile, secretEnv = '' } = this.settings;
    const secret = secretFile === undefined ? process.env[secretEnv] : (await readFile(secretFile, 'utf8')).trim();
    if (!secret) throw new Error(`there is no secret in ${secretFile ?? `the variable ${secretEnv}`}`);
    const encode = (text: string): string => encodeURIComponent(text).replaceAll('%20', '+');
    return Buffer.from(`${encode(clientId)}:${encode(secret)}`).toString('base64');
  }

  #keep(key: string, answer: Answer): void {
    this.#answers.delete(key);
    this.#answers.set(key, answer);
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= MAX_ANSWERS) return;
      this.#answers.delete(oldest);
    }
  }
}

/** A token that says whose it is must not be shown to anybody else. @throws SCI_TOKEN_ISSUER */
function mustNotBeOfAnother(issuer: string, token: string): void {
  let iss: unknown;
  try {
    iss = decodeJwt(token).iss;
  } catch {
    // No JWT that can be read here: only the issuer can say what it is.
    return;
  }
  if (iss !== undefined && iss !== issuer) throw wrongIssuer(iss, issuer);
}
