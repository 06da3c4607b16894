import { z } from 'zod';
import { SciStreamError } from '../../contracts/errors.js';

/** Login settings of one facility, from its key `auth`; not secret. */
export interface Login {
  /** Name of the facility in the configuration. */
  readonly facility: string;
  /** URL of the OpenID Connect issuer. */
  readonly issuer: string;
  /** Client id of this program at the issuer, a public client. */
  readonly client: string;
  /** Requested scopes, separated by blanks. */
  readonly scope: string;
  /** Resource that the tokens are for (RFC 8707), if the issuer requires it. */
  readonly resource?: string | undefined;
}

/** A login and the only control server that may receive its tokens. */
export interface ServerLogin extends Login {
  /** Address and trust in one line, in the form of `serverOf`. */
  readonly server: string;
}

/** A {@link Login} in the journal. */
export const LoginSchema = z.strictObject({
  facility: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/),
  issuer: z.string().max(2000),
  client: z.string().max(200),
  scope: z.string().max(2000),
  resource: z.string().max(2000).optional(),
});

/** Instructions for the user, which `scistream login` shows. */
export interface LoginPrompt {
  /** Page to open in a browser. */
  readonly url: string;
  /** Code to compare or to enter; only with the device flow. */
  readonly code?: string;
}

/** Result of a login. */
export interface LoginResult {
  readonly facility: string;
  readonly issuer: string;
  /** End of the access token, ISO 8601 UTC; absent if the issuer names none. */
  readonly expiresAt?: string | undefined;
  /** Whether the tokens are renewed without another login. */
  readonly renewable: boolean;
}

/** @param why The reason, a sentence. */
export const loginRequired = ({ facility }: Login, why: string, cause?: unknown): SciStreamError =>
  new SciStreamError('SCI_LOGIN_REQUIRED', why, { cause, suggestions: [`scistream login ${facility}`] });
