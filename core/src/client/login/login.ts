import { z } from 'zod';
import { SciStreamError } from '../../contracts/errors.js';

/** How a user logs in for one facility; the key `auth` of a facility, and nothing secret. */
export interface Login {
  /** Name of the facility in the configuration. */
  readonly facility: string;
  /** URL of the OpenID Connect issuer. */
  readonly issuer: string;
  /** Id of this program there, a public client. */
  readonly client: string;
  /** What is asked for, blanks between. */
  readonly scope: string;
  /** For whom tokens are meant (RFC 8707), where the issuer wants to know. */
  readonly resource?: string | undefined;
}

/** A login and the one control server that its tokens are for. */
export interface ServerLogin extends Login {
  /** Address and trust, in one line, as `serverOf` says them. */
  readonly server: string;
}

/** The form in which the journal keeps a {@link Login}. */
export const LoginSchema = z.strictObject({
  facility: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/),
  issuer: z.string().max(2000),
  client: z.string().max(200),
  scope: z.string().max(2000),
  resource: z.string().max(2000).optional(),
});

/** What a user has to do to log in, and what is needed then: `scistream login` shows it. */
export interface LoginPrompt {
  /** To open in a browser. */
  readonly url: string;
  /** To compare with, or to type; only with the device flow. */
  readonly code?: string;
}

/** What came of a login. */
export interface LoginResult {
  readonly facility: string;
  readonly issuer: string;
  /** ISO 8601 UTC; absent when the issuer does not say. */
  readonly expiresAt?: string | undefined;
  /** Whether it renews itself. */
  readonly renewable: boolean;
}

/** @param why In words, a sentence. */
export const loginRequired = ({ facility }: Login, why: string, cause?: unknown): SciStreamError =>
  new SciStreamError('SCI_LOGIN_REQUIRED', why, { cause, suggestions: [`scistream login ${facility}`] });
