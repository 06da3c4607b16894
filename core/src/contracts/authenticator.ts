import type { X509Certificate } from 'node:crypto';

/** Who is calling, as an authenticator found it. */
export interface Identity {
  /** Stable name of the caller, unique together with `issuer`. */
  readonly subject: string;
  /** Id of the authenticator, or the issuer of the token. */
  readonly issuer: string;
  /** May see, change and release the streams of others. */
  readonly admin: boolean;
  /** As the issuer names them; absent: none. */
  readonly groups?: readonly string[];
  /** ISO 8601 UTC: when the proof of it ends; absent: it does not. */
  readonly expiresAt?: string;
  /** Address of the peer, added by the control server for its records. */
  readonly peer?: string;
}

/** The client certificate of a connection (TLS). */
export interface ShownCertificate {
  readonly certificate: X509Certificate;
  /** Why it is not trusted, as OpenSSL calls it, such as CERT_HAS_EXPIRED; absent: a CA of `tls.clientCa` vouches for it. */
  readonly refusal?: string;
}

/** What a call brought along. */
export interface Credentials {
  /** The metadata key `authorization`, without a leading `Bearer ` (protocol.md §2); empty when there was none. */
  readonly token: string;
  /** Address of the peer. */
  readonly peer: string;
  /** Absent: the peer has shown none, or was not asked for one. */
  readonly certificate?: ShownCertificate;
}

/** Finds out who is calling. Called once per RPC, before anything else happens, concurrently. */
export interface Authenticator {
  readonly id: string;
  /** Whether it shows credentials to somebody else: among several it is asked after those that do not. */
  readonly asksOthers?: boolean;
  /** Whether it knows everybody, whatever they show: nothing after it is asked, and the operator is warned. */
  readonly letsAnybodyIn?: boolean;
  /**
   * @throws SCI_UNAUTHENTICATED, always for the same reason text, so that a stranger learns nothing; SCI_TOKEN_* with what
   * is wrong with a token of an issuer; SCI_ISSUER_UNREACHABLE; SCI_CERTIFICATE_* with what is
   * wrong with a client certificate
   */
  authenticate(credentials: Credentials, signal?: AbortSignal): Promise<Identity>;
}

/** The identity as `StreamRecord.owner` and the audit log write it: issuer and subject with a colon between. */
export const ownerOf = ({ issuer, subject }: Identity): string => `${issuer}:${subject}`;
