import { createRemoteJWKSet, errors, type JWTVerifyGetKey } from 'jose';
import { z } from 'zod';
import { messageOf, SciStreamError } from '../errors.js';
import { isSafeUrl } from './issuer-url.js';

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

  constructor(readonly settings: IssuerSettings) {}

  /** @throws SCI_ISSUER_UNREACHABLE; the next call asks again. */
  metadata(): Promise<IssuerMetadata> {
    this.#metadata ??= this.#discover().catch((error: unknown) => {
      this.#metadata = undefined;
      throw error;
    });
    return this.#metadata;
  }

  /**
   * Finds the key of a token, for jose: cached, and fetched again when they are old or a token names one that is new.
   * @throws SCI_ISSUER_UNREACHABLE
   */
  readonly key: JWTVerifyGetKey = async (header, token) => {
    this.#keys ??= this.#remoteKeys((await this.metadata()).jwks_uri);
    try {
      return await this.#keys(header, token);
    } catch (error) {
      if (KEY_PROBLEMS.some((kind) => error instanceof kind)) throw error;
      throw this.unreachable(error);
    }
  };

  unreachable(cause: unknown, what = `The issuer ${this.settings.issuer} does not answer as it should`) {
    return new SciStreamError('SCI_ISSUER_UNREACHABLE', `${what}, so the token could not be checked.`, {
      cause,
      suggestions: ['Try again in a moment.', 'The log of the control server says what went wrong.'],
    });
  }

  #remoteKeys(uri: string): JWTVerifyGetKey {
    const { timeout, keys } = this.settings;
    const options = { timeoutDuration: timeout, cooldownDuration: keys.cooldown, cacheMaxAge: keys.maxAge };
    return createRemoteJWKSet(new URL(uri), options);
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
const KEY_PROBLEMS = [errors.JWKSNoMatchingKey, errors.JWKSMultipleMatchingKeys, errors.JOSENotSupported];

/** What went wrong with an issuer, for the log of the operator: the innermost reason, without secrets. */
export function reasonOf(error: SciStreamError): string {
  let reason: unknown = error;
  while (reason instanceof Error && reason.cause !== undefined) reason = reason.cause;
  return messageOf(reason);
}
