import { formatAddress } from '../contracts/address.js';
import { messageOf, SciStreamError, systemCode } from '../contracts/errors.js';
import type { ProxyError } from '../contracts/http-proxy.js';
import { formatDuration } from '../contracts/units.js';
import type { Endpoint } from './endpoint.js';

/** Maximum time for the TCP and TLS handshakes together, ms. */
export const CONNECT_TIMEOUT_MS = 10_000;

/** SCI_S2CS_UNREACHABLE. @param why Default: the reason of the system. */
export function unreachable(
  endpoint: Endpoint,
  cause: unknown,
  why?: string,
  suggestions?: readonly string[],
): SciStreamError {
  const where = formatAddress(endpoint.address);
  const reason = why ?? WHY[systemCode(cause) ?? ''] ?? messageOf(cause);
  return new SciStreamError('SCI_S2CS_UNREACHABLE', `Control server ${where} is unreachable: ${reason}.`, {
    cause,
    suggestions: suggestions ?? [`Check that s2cs runs there and that firewalls allow TCP to ${where}.`],
  });
}

/** SCI_S2CS_UNREACHABLE because of the proxy. */
export const unproxied = (endpoint: Endpoint, error: ProxyError): SciStreamError =>
  unreachable(endpoint, error, error.message, [
    `If no proxy is needed for this server: NO_PROXY=${endpoint.address.host}`,
    `Otherwise ask the operator of the proxy to allow CONNECT to ${formatAddress(endpoint.address)}.`,
  ]);

const WHY: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'it closed the connection',
  EPIPE: 'it closed the connection',
  ENOTFOUND: 'unknown host name',
  EAI_AGAIN: 'the name server does not answer',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no route to the network',
  ETIMEDOUT: `no answer within ${formatDuration(CONNECT_TIMEOUT_MS)}`,
};

/** SCI_TLS_UNTRUSTED. @param seen Fingerprint of the certificate that the server shows. */
export function untrusted(endpoint: Endpoint, why: string, seen: string | undefined, cause?: unknown): SciStreamError {
  const where = formatAddress(endpoint.address);
  const pin = `If the operator confirms the fingerprint, add --fingerprint ${seen ?? ''} or use ${where}#${seen ?? ''}`;
  return new SciStreamError('SCI_TLS_UNTRUSTED', `The certificate of control server ${where} is not trusted: ${why}.`, {
    cause,
    suggestions: [...(seen ? [pin] : []), 'Trust the CA that signed it: --ca FILE'],
  });
}

/** The server shows another certificate than the pinned one, as an attacker between client and server would. */
export function changed({ facility, address }: Endpoint, expected: string, seen: string | undefined): SciStreamError {
  const where = formatAddress(address);
  const why = `its certificate is not the expected ${expected}, so the connection may be intercepted`;
  const use = facility === where ? `use ${where}#` : `set facilities.${facility}.fingerprint to `;
  return new SciStreamError('SCI_TLS_UNTRUSTED', `Control server ${where} is not trusted: ${why}.`, {
    suggestions: [
      'Ask the operator for the current fingerprint in another way, such as by telephone.',
      ...(seen === undefined ? [] : [`Only if the operator confirms that it is ${seen}: ${use}${seen}`]),
    ],
  });
}
