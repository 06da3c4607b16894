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

/** Settings for requests to an issuer. */
export interface IssuerSettings {
  readonly issuer: string;
  /** Deadline of one request, ms. */
  readonly timeout: number;
  readonly keys: {
    /** Age at which keys are fetched again, ms. */
    readonly maxAge: number;
    /** Time after a fetch in which an unknown key causes no other fetch, ms. */
    readonly cooldown: number;
    /** How long after `maxAge` keys are used while the issuer is unreachable, ms. */
    readonly maxStale: number;
  };
}

const endpoint = z.string().refine(isSafeUrl, 'is not an https URL');
const Metadata = z.object({
  issuer: z.string(),
  jwks_uri: endpoint,
  introspection_endpoint: endpoint.optional(),
});

/** The metadata of an issuer that is used here (OpenID Connect Discovery section 3, RFC 8414). */
export type IssuerMetadata = z.output<typeof Metadata>;

/** An OpenID Connect issuer: its metadata, fetched at the first use and kept, and its keys. Calls may overlap. */
export class Issuer {
  #metadata: Promise<IssuerMetadata> | undefined;
  #keys: JWTVerifyGetKey | undefined;
  /** The last fetched keys and their time (`uat`, ms since the epoch). jose updates them. */
  readonly #fetched: JWKSCacheInput = {};
  /** The last failed fetch of keys: its time, ms since the epoch, and the reason. */
  #failure: { readonly at: number; readonly reason: unknown } | undefined;

  /** @param onStale Called with the reason when stale keys are used, at most once per `cooldown` */
  constructor(
    readonly settings: IssuerSettings,
    private readonly onStale: (reason: string) => void,
  ) {}

  /** The metadata, fetched at the first call. @throws SCI_ISSUER_UNREACHABLE, then the next call retries */
  metadata(): Promise<IssuerMetadata> {
    this.#metadata ??= this.#discover().catch((error: unknown) => {
      this.#metadata = undefined;
      throw error;
    });
    return this.#metadata;
  }

  /**
   * Finds the key of a token, for jose. Keys are cached, and fetched again when they are old or a token names an unknown
   * one. While the issuer is unreachable, one fetch per `cooldown` is tried and old keys are used for `maxStale`.
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
      // The token may have a new key.
      throw error instanceof errors.JWKSNoMatchingKey ? this.unreachable(this.#failure?.reason) : error;
    });
  };

  unreachable(cause: unknown, what = `The issuer ${this.settings.issuer} gave no valid answer`) {
    return new SciStreamError('SCI_ISSUER_UNREACHABLE', `${what}, so the token could not be checked.`, {
      cause,
      suggestions: ['Retry in a moment.', 'See the log of the control server for the reason.'],
    });
  }

  #remoteKeys(uri: string): JWTVerifyGetKey {
    const { timeout, keys } = this.settings;
    const times = { timeoutDuration: timeout, cooldownDuration: keys.cooldown, cacheMaxAge: keys.maxAge };
    return createRemoteJWKSet(new URL(uri), { ...times, [jwksCache]: this.#fetched });
  }

  /** The last fetched keys, unless they are older than `maxAge` and `maxStale` together. */
  #kept(): JSONWebKeySet | undefined {
    const { maxAge, maxStale } = this.settings.keys;
    const { jwks, uat } = this.#fetched;
    return uat !== undefined && Date.now() < uat + maxAge + maxStale ? jwks : undefined;
  }

  /** Whether the last fetch failed less than a `cooldown` ago and cached keys can be used. */
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

/** Whether the error concerns the token and not the issuer. */
const isKeyProblem = (error: unknown): boolean =>
  [errors.JWKSNoMatchingKey, errors.JWKSMultipleMatchingKeys, errors.JOSENotSupported].some(
    (kind) => error instanceof kind,
  );
