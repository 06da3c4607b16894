import type { X509Certificate } from 'node:crypto';

/** The authenticated identity of a caller. */
export interface Identity {
  /** Stable name of the caller, see {@link isIdentityName}. Unique within `issuer`. */
  readonly subject: string;
  /** Issuer of the token, or the id of the authenticator. */
  readonly issuer: string;
  /** True if the caller may see, change and release the streams of all owners, and drain gateways. */
  readonly admin: boolean;
  /** Groups of the caller, as the issuer names them. Absent: none. */
  readonly groups?: readonly string[];
  /** End of validity of the credentials, ISO 8601 UTC. Absent: they do not expire. */
  readonly expiresAt?: string;
  /** IP address of the peer. The control server sets it; authenticators leave it absent. */
  readonly peer?: string;
}

/** The client certificate that a peer presented in the TLS handshake. */
export interface ShownCertificate {
  readonly certificate: X509Certificate;
  /** OpenSSL verification error, such as CERT_HAS_EXPIRED. Absent: a CA of `tls.clientCa` signed the certificate. */
  readonly refusal?: string;
}

/** The credentials that came with one call. */
export interface Credentials {
  /** Value of the metadata key `authorization` without a leading `Bearer ` (protocol.md §2). Empty if it is absent. */
  readonly token: string;
  /** IP address of the peer. */
  readonly peer: string;
  /** Absent: the peer presented none, or the server did not request one. */
  readonly certificate?: ShownCertificate;
}

/** Authenticates callers. The control server calls it once per RPC, before any other work. Calls run concurrently. */
export interface Authenticator {
  /** Name under which `auth` of the configuration selects it. */
  readonly id: string;
  /** True if it sends credentials to another service. Of several authenticators, local ones are tried first. */
  readonly isRemote?: boolean;
  /** True if it accepts every caller. Authenticators after it are not tried, and the daemon logs a warning. */
  readonly allowsAnonymous?: boolean;
  /**
   * Returns the identity of the caller.
   * @param signal Aborts when the caller cancels the RPC.
   * @throws SCI_UNAUTHENTICATED with a constant text that does not help an attacker; SCI_TOKEN_* or SCI_CERTIFICATE_*
   * with the defect of the token or certificate; SCI_ISSUER_UNREACHABLE; SCI_RATE_LIMITED while it checks too many callers
   */
  authenticate(credentials: Credentials, signal?: AbortSignal): Promise<Identity>;
}

/**
 * Returns true for the names that an identity may have: 1 to 200 characters without control, formatting and separator
 * characters, which could change the meaning of a line in a log or on a terminal. Spaces are allowed.
 */
export const isIdentityName = (text: unknown): text is string =>
  typeof text === 'string' && /^[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]{1,200}$/u.test(text);

/** Formats an identity as `issuer:subject`, as in `StreamRecord.owner` and in the audit log. */
export const ownerOf = ({ issuer, subject }: Identity): string => `${issuer}:${subject}`;
