import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, createSecureContext, type ConnectionOptions } from 'node:tls';
import { formatAddress } from '../contracts/address.js';
import { messageOf, SciStreamError, systemCode } from '../contracts/errors.js';
import { throughProxy } from '../contracts/http-proxy.js';
import { mustBeTrusted } from '../contracts/trust.js';
import type { ClientCertificate, Endpoint } from './endpoint.js';

/** Maximum time until the server sends data after the handshake, ms. */
const SILENCE_MS = 5_000;

/** Reads the certificate and the key of this client. @throws SCI_CERTIFICATE_INVALID naming the file, SCI_FILE_UNTRUSTED */
export function readClientCertificate({ cert, key }: ClientCertificate): {
  readonly cert: string;
  readonly key: string;
} {
  const read = (file: string): string => {
    try {
      return readFileSync(file, 'utf8');
    } catch (cause) {
      throw invalid(`cannot read ${file} (${systemCode(cause) ?? messageOf(cause)})`, cause);
    }
  };
  mustBeTrusted(key, { secret: 'group' });
  const pair = { cert: read(cert), key: read(key) };
  try {
    createSecureContext(pair);
  } catch (cause) {
    throw invalid(`${cert} and ${key} are not a certificate and its unencrypted key: ${messageOf(cause)}`, cause);
  }
  return pair;
}

const invalid = (why: string, cause: unknown): SciStreamError =>
  new SciStreamError('SCI_CERTIFICATE_INVALID', `The client certificate is not usable: ${why}.`, {
    cause,
    suggestions: [
      'Use PEM files of a certificate and its unencrypted key: facilities.<name>.cert and .key, or --cert FILE --key FILE.',
    ],
  });

/**
 * Finds out whether a server rejects the client certificate. It connects again, sends only the certificate, and waits:
 * a server that accepts the certificate sends its HTTP/2 settings. With TLS 1.3, the rejection arrives after the
 * handshake, and data that the client sends before can suppress the reason.
 * @param options Options of the connection that failed.
 * @returns SCI_CERTIFICATE_MISSING, SCI_CERTIFICATE_UNTRUSTED or SCI_CERTIFICATE_EXPIRED; undefined for another cause
 */
export async function refusedCertificate(
  endpoint: Endpoint,
  options: ConnectionOptions,
): Promise<SciStreamError | undefined> {
  const through = await throughProxy(endpoint.address).catch(() => undefined);
  const socket = connect({ ...options, socket: through, timeout: SILENCE_MS });
  let secure = false;
  const end = await new Promise<string>((resolve) => {
    socket.once('secureConnect', () => (secure = true));
    for (const event of ['data', 'timeout', 'end', 'close']) socket.once(event, () => resolve(event));
    socket.once('error', (error) => resolve(systemCode(error) ?? 'error'));
  }).finally(() => socket.destroy());
  if (!secure || end === 'data' || end === 'timeout') return undefined;
  if (endpoint.certificate) return refused(endpoint, options, end);
  return /CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|BAD_CERTIFICATE/.test(end) ? missing(endpoint) : undefined;
}

function refused(endpoint: Endpoint, { cert }: ConnectionOptions, how: string): SciStreamError {
  const where = `Control server ${formatAddress(endpoint.address)}`;
  const { validTo } = new X509Certificate(String(cert));
  if (Date.parse(validTo) < Date.now()) {
    const when = new Date(validTo).toISOString();
    return new SciStreamError(
      'SCI_CERTIFICATE_EXPIRED',
      `${where} rejects the client certificate, which expired at ${when}.`,
      {
        suggestions: ['Renew it with the CA that issued it: scistream cert renew FILE'],
      },
    );
  }
  return new SciStreamError('SCI_CERTIFICATE_UNTRUSTED', `${where} rejects the client certificate (${how}).`, {
    suggestions: ['Ask the operator which CA signs client certificates.'],
  });
}

const missing = ({ address }: Endpoint): SciStreamError =>
  new SciStreamError(
    'SCI_CERTIFICATE_MISSING',
    `Control server ${formatAddress(address)} requires a client certificate.`,
    {
      suggestions: ['Set facilities.<name>.cert and .key, or add --cert FILE --key FILE.'],
    },
  );
