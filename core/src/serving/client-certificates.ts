import { constants, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import type { SecureVersion, TlsOptions, TLSSocket } from 'node:tls';
import { createContextKey } from '@connectrpc/connect';
import type { ShownCertificate } from '../contracts/authenticator.js';
import { messageOf, SciStreamError } from '../contracts/errors.js';
import { mustBeTrusted } from '../contracts/trust.js';

/** The certificate of the peer of a data server, set by the HTTP server. */
export const CERTIFICATE = createContextKey<ShownCertificate | undefined>(undefined);

/** Maximum time for the TLS handshake of a peer, ms. */
const HANDSHAKE_MS = 10_000;

/** The configuration keys of the same names below `tls`. */
export interface ClientTrust {
  readonly clientCa?: string | undefined;
  readonly requireClientCertificate?: boolean | undefined;
}

/**
 * Returns the TLS options that verify client certificates. Sessions are never resumed, so that every connection is
 * verified.
 * @param minVersion Minimum TLS version.
 * @throws SCI_CONFIG_INVALID naming the file
 */
export async function clientTrust(
  { clientCa, requireClientCertificate = false }: ClientTrust = {},
  minVersion: SecureVersion = 'TLSv1.3',
): Promise<TlsOptions> {
  const secureOptions = constants.SSL_OP_NO_RENEGOTIATION;
  const common = { minVersion, secureOptions, handshakeTimeout: HANDSHAKE_MS } as const;
  if (clientCa === undefined) return common;
  return {
    ...common,
    ca: await readAuthority(clientCa, 'tls.clientCa'),
    requestCert: true,
    rejectUnauthorized: requireClientCertificate,
    secureOptions: secureOptions | constants.SSL_OP_NO_TICKET,
  };
}

/**
 * Checks a reload. It can replace the CA, but it cannot start or stop requesting client certificates.
 * @throws SCI_CONFIG_FIXED
 */
export function mustAskAlike(now: ClientTrust = {}, next: ClientTrust = {}): void {
  const asks = ({ clientCa, requireClientCertificate = false }: ClientTrust): string =>
    `${clientCa !== undefined} ${requireClientCertificate}`;
  if (asks(now) === asks(next)) return;
  const keys = 'tls.clientCa and tls.requireClientCertificate';
  throw new SciStreamError(
    'SCI_CONFIG_FIXED',
    `${keys}: a reload cannot change whether client certificates are requested.`,
    {
      suggestions: ['Restart the daemon. Its streams keep running.'],
    },
  );
}

/**
 * Reads a file with one or more CA certificates.
 * @param key Configuration key, for errors.
 * @throws SCI_CONFIG_INVALID, SCI_FILE_UNTRUSTED
 */
async function readAuthority(file: string, key: string): Promise<string> {
  mustBeTrusted(file);
  const pem = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new SciStreamError('SCI_CONFIG_INVALID', `${key}: ${messageOf(cause)}.`, {
      cause,
      suggestions: [`Check that ${file} exists and that the daemon can read it.`],
    });
  });
  try {
    if (new X509Certificate(pem).ca) return pem;
  } catch (cause) {
    throw new SciStreamError('SCI_CONFIG_INVALID', `${key}: ${file} is not a PEM certificate.`, {
      cause,
      suggestions: ['Use the CA that signs client certificates. scistream cert init creates one as ca.crt.'],
    });
  }
  throw new SciStreamError('SCI_CONFIG_INVALID', `${key}: ${file} is not a CA certificate.`, {
    suggestions: ['Use the CA that signs client certificates. scistream cert init creates one as ca.crt.'],
  });
}

/** The certificate of the peer; undefined if the peer sent none or the server requested none. */
export function shownCertificate(socket: Socket): ShownCertificate | undefined {
  if (!('getPeerX509Certificate' in socket)) return undefined;
  const { authorized, authorizationError, ...rest } = facts(socket as TLSSocket);
  if (!rest.certificate) return undefined;
  return { certificate: rest.certificate, ...(!authorized && { refusal: String(authorizationError) }) };
}

/** HTTP/2 requests have a proxy of the socket, which cannot be destructured. */
const facts = (socket: TLSSocket) => ({
  certificate: socket.getPeerX509Certificate(),
  authorized: socket.authorized,
  authorizationError: socket.authorizationError,
});
