import {
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  jwksCache,
  type JSONWebKeySet,
  type JWKSCacheInput,
  type JWTVerifyGetKey,
} from 'jose';
import { z } from 'zod';
import { isSafeUrl } from '../config/issuer-url.js';
import { reasonOf, SciStreamError } from '../contracts/errors.js';

/** How an issuer is asked. */
export interface IssuerSettings {
  readonly issuer: string;
  /** ms for one answer. */
  readonly timeout: number;
  readonly keys: {
    /** ms after which keys are fetched again. */
    readonly maxAge: number;
    /** ms after a fetch in which an unknown key does not lead to another one. */
    readonly cooldown: number;
    /** ms beyond `maxAge` that keys are used while they cannot be fetched again. */
    readonly maxStale: number;
  };
}

const endpoint = z.string().refine(isSafeUrl, 'is not an https URL');
const Metadata = z.object({
  issuer: z.string(),
  jwks_uri: endpoint,
  introspection_endpoint: endpoint.optional(),
});

/** What of the metadata of an issuer is used (OpenID Connect Discovery section 3, RFC 8414). */
export type IssuerMetadata = z.output<typeof Metadata>;

/** An OpenID Connect issuer: its metadata, asked for at the first use and kept, and its keys. Calls may overlap. */
export class Issuer {
  #metadata: Promise<IssuerMetadata> | undefined;
  #keys: JWTVerifyGetKey | undefined;
  /** What was fetched last, and when (`uat`, ms since the epoch); jose keeps it up to date. */
  readonly #fetched: JWKSCacheInput = {};
  /** The last time that keys could not be fetched, ms since the epoch, and why. */
  #failure: { readonly at: number; readonly reason: unknown } | undefined;

  /** @param onStale Called with the reason when old keys begin to be used, and again after each `cooldown` of it. */
  constructor(
    readonly settings: IssuerSettings,
    private readonly onStale: (reason: string) => void,
  ) {}

  /** @throws SCI_ISSUER_UNREACHABLE; the next call asks again. */
  metadata(): Promise<IssuerMetadata> {
    this.#metadata ??= this.#discover().catch((error: unknown) => {
      this.#metadata = undefined;
      throw error;
    });
    return this.#metadata;
  }

  /**
   * Finds the key of a token, for jose: cached, and fetched again when they are old or a token names one that is new. While
   * the issuer is away it is asked once in a `cooldown`, and old keys do for `maxStale`.
   * @throws SCI_ISSUER_UNREACHABLE
   */
  readonly key: JWTVerifyGetKey = async (header, token) => {
    this.#keys ??= this.#remoteKeys((await this.metadata()).jwks_uri);
    if (!this.#isAway()) {
      try {
        return await this.#keys(header, token);
      } catch (error) {
        if (isKeyProblem(error)) throw error;
        this.#failed(error);
      }
    }
    const kept = this.#kept();
    if (!kept) throw this.unreachable(this.#failure?.reason);
    return await createLocalJWKSet(kept)(header, token).catch((error: unknown) => {
      // It may be a new one.
      throw error instanceof errors.JWKSNoMatchingKey ? this.unreachable(this.#failure?.reason) : error;
    });
  };

  unreachable(cause: unknown, what = `The issuer ${this.settings.issuer} does not answer as it should`) {
    return new SciStreamError('SCI_ISSUER_UNREACHABLE', `${what}, so the token could not be checked.`, {
      cause,
      suggestions: ['Try again in a moment.', 'The log of the control server says what went wrong.'],
    });
  }

  #remoteKeys(uri: string): JWTVerifyGetKey {
    const { timeout, keys } = this.settings;
    const times = { timeoutDuration: timeout, cooldownDuration: keys.cooldown, cacheMaxAge: keys.maxAge };
    return createRemoteJWKSet(new URL(uri), { ...times, [jwksCache]: this.#fetched });
  }

  /** The keys that were fetched last, unless they are too old even for want of better ones. */
  #kept(): JSONWebKeySet | undefined {
    const { maxAge, maxStale } = this.settings.keys;
    const { jwks, uat } = this.#fetched;
    return uat !== undefined && Date.now() < uat + maxAge + maxStale ? jwks : undefined;
  }

  /** Whether it did not answer just now, and can be done without. */
  #isAway(): boolean {
    const { at = -Infinity } = this.#failure ?? {};
    return Date.now() < at + this.settings.keys.cooldown && this.#kept() !== undefined;
  }

  #failed(reason: unknown): void {
    if (!this.#isAway() && this.#kept()) this.onStale(reasonOf(reason));
    this.#failure = { at: Date.now(), reason };
  }

  async #discover(): Promise<IssuerMetadata> {
    const { issuer, timeout } = this.settings;
    const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    try {
      const response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(timeout) });
      if (response.status !== 200) throw new Error(`${url} answered ${response.status}`);
      const metadata = Metadata.parse(await response.json());
      if (metadata.issuer !== issuer) throw new Error(`${url} calls itself ${metadata.issuer}`);
      return metadata;
    } catch (error) {
      throw this.unreachable(error);
    }
  }
}

/** What is wrong with the token rather than with the issuer. */
const isKeyProblem = (error: unknown): boolean =>
  [errors.JWKSNoMatchingKey, errors.JWKSMultipleMatchingKeys, errors.JOSENotSupported].some(
    (kind) => error instanceof kind,
  );
