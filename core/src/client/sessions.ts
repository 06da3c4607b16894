import { readFileSync } from 'node:fs';
import type { ClientHttp2Stream, ClientSessionRequestOptions, OutgoingHttpHeaders } from 'node:http2';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { formatAddress } from '../contracts/address.js';
import { messageOf, SciStreamError, systemCode } from '../contracts/errors.js';
import { ProxyError, throughProxy } from '../contracts/http-proxy.js';
import { mustBeTrusted } from '../contracts/trust.js';
import { formatDuration } from '../contracts/units.js';
import { fingerprintOf } from '../pki/inspect.js';
import { GuardedSessions } from '../wire/guarded-sessions.js';
import { readClientCertificate, refusedCertificate } from './client-certificate.js';
import type { Endpoint } from './endpoint.js';

/** Maximum time for the TCP and TLS handshakes together, ms. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Maximum silence in the test whether a port uses TLS, ms. */
const TLS_TEST_TIMEOUT_MS = 2_000;
/** Default interval of HTTP/2 pings while a call is in flight, ms. REQ and Watch can be silent for a long time. */
const PING_INTERVAL_MS = 20_000;
const PING_TIMEOUT_MS = 10_000;

/**
 * One HTTP/2 connection to a control server. The server certificate is verified before HTTP/2 receives the socket,
 * because Node.js aborts if a socket is destroyed in its `secureConnect` event while an HTTP/2 session uses it.
 */
export class VerifiedSessions {
  /** Origin of all requests. */
  readonly authority: string;
  readonly #endpoint: Endpoint;
  readonly #inner: GuardedSessions;
  readonly #tls: ConnectionOptions;
  #socket: Socket | undefined;
  #opening: Promise<void> | undefined;
  #fingerprint: string | undefined;
  #opened = false;
  #closed = false;

  /**
   * @throws SCI_CONFIG_NOT_FOUND when the CA file cannot be read; SCI_CERTIFICATE_INVALID for the client certificate
   */
  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
    this.#tls = tlsOptions(endpoint);
    const scheme = endpoint.trust.kind === 'plain' ? 'http' : 'https';
    this.#inner = new GuardedSessions(
      `${scheme}://${formatAddress(endpoint.address)}`,
      { pingIntervalMs: endpoint.pingIntervalMs ?? PING_INTERVAL_MS, pingTimeoutMs: PING_TIMEOUT_MS },
      { createConnection: () => this.#take() },
    );
    this.authority = this.#inner.authority;
  }

  /** Fingerprint `sha256:…` of the trusted certificate; undefined before the first connection and without TLS. */
  get fingerprint(): string | undefined {
    return this.#fingerprint;
  }

  /**
   * Whether a connection has existed, so that the server may have received a request. False for requests in plain text at
   * a port that turned out to use TLS: it cannot read them.
   */
  get opened(): boolean {
    return this.#opened;
  }

  /** @throws SCI_S2CS_UNREACHABLE, SCI_TLS_UNTRUSTED when a new connection is needed and fails. */
  async request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    options: Omit<ClientSessionRequestOptions, 'signal'>,
  ): Promise<ClientHttp2Stream> {
    // The authority that Node.js generates lacks the brackets of an IPv6 address.
    const named = { ...headers, ':authority': formatAddress(this.#endpoint.address) };
    try {
      return await this.#inner.request(method, path, named, options);
    } catch (error) {
      if (!(error instanceof NoSocket)) throw error;
      this.#opening ??= this.#open().finally(() => (this.#opening = undefined));
      await this.#opening.catch(unsent);
      this.#opened = true;
      return await this.#inner.request(method, path, named, options);
    }
  }

  /**
   * The error when the server rejects the client certificate, or uses TLS and received plain text; undefined when calls
   * fail for another reason. For use before any answer.
   */
  async refusal(): Promise<SciStreamError | undefined> {
    if (!this.#opened || this.#closed) return undefined;
    if (this.#fingerprint !== undefined) return await refusedCertificate(this.#endpoint, this.#tls);
    if ((await shownFingerprint(this.#endpoint, TLS_TEST_TIMEOUT_MS)) === undefined) return undefined;
    this.#opened = false;
    const where = formatAddress(this.#endpoint.address);
    return unreachable(this.#endpoint, undefined, 'it uses TLS, and the request was in plain text', [
      `Remove --insecure, or the key insecure of the facility, to reach ${where} with TLS.`,
    ]);
  }

  notifyResponseByteRead(stream: ClientHttp2Stream): void {
    this.#inner.notifyResponseByteRead(stream);
  }

  /** Closes the connection and aborts all calls on it. Later calls fail. */
  close(): void {
    this.#closed = true;
    this.#socket?.destroy();
    this.#inner.abort();
  }

  #take(): Socket {
    const socket = this.#socket;
    this.#socket = undefined;
    if (this.#closed) throw closed();
    if (!socket || socket.destroyed) throw new NoSocket();
    return socket;
  }

  async #open(): Promise<void> {
    if (this.#closed) throw closed();
    const { address, trust } = this.#endpoint;
    if (trust.kind === 'plain') {
      this.#keep(await established(connectTcp(address), 'connect', this.#endpoint));
      return;
    }
    const pinned = trust.kind === 'pin';
    const through = await throughProxy(address).catch((error: unknown) => {
      throw error instanceof ProxyError ? unproxied(this.#endpoint, error) : error;
    });
    const socket = connectTls({ ...this.#tls, socket: through });
    await established(socket, 'secureConnect', this.#endpoint);
    const shown = peerFingerprint(socket);
    if (pinned && shown !== trust.fingerprint) {
      socket.destroy();
      throw changed(this.#endpoint, trust.fingerprint, shown);
    }
    this.#fingerprint = shown;
    this.#keep(socket);
  }

  /** Keeps the socket for the waiting request, or destroys it if `close` was called while the socket was connecting. */
  #keep(socket: Socket): void {
    if (this.#closed) socket.destroy();
    this.#socket = socket;
  }
}

const closed = (): SciStreamError =>
  new SciStreamError('SCI_BUG', 'This program closed the connection to the control server.');

/** Errors of calls that had no connection. */
const neverSent = new WeakSet<object>();

function unsent(error: unknown): never {
  if (error instanceof Error) neverSent.add(error);
  throw error;
}

/** Whether a call failed because no connection could be established, so that the server has received nothing of it. */
export const wasNeverSent = (error: unknown): boolean => error instanceof Error && neverSent.has(error);

/** The session manager requests a connection, and no verified socket is ready. */
class NoSocket extends Error {}

function readCa(file: string): Buffer {
  mustBeTrusted(file, { anyOwner: true });
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new SciStreamError(
      'SCI_CONFIG_NOT_FOUND',
      `Cannot read the CA file ${file} (${systemCode(cause) ?? messageOf(cause)}).`,
      {
        cause,
        suggestions: ['Use the PEM file of the CA, or trust one certificate with --fingerprint sha256:…'],
      },
    );
  }
}

function tlsOptions({ address, trust, certificate, minTls = 'TLSv1.3' }: Endpoint): ConnectionOptions {
  const servername = isIP(address.host) === 0 ? { servername: address.host } : {};
  return {
    ...address,
    ...servername,
    ALPNProtocols: ['h2'],
    minVersion: minTls,
    rejectUnauthorized: trust.kind !== 'pin',
    ...(trust.kind === 'ca' && { ca: readCa(trust.file) }),
    ...(certificate && readClientCertificate(certificate)),
  };
}

function peerFingerprint(socket: TLSSocket): string | undefined {
  const certificate = socket.getPeerX509Certificate();
  return certificate && fingerprintOf(certificate);
}

/** Waits until the socket is connected. @throws SCI_S2CS_UNREACHABLE, SCI_TLS_UNTRUSTED */
async function established(socket: Socket, event: 'connect' | 'secureConnect', endpoint: Endpoint): Promise<Socket> {
  const timer = setTimeout(() => socket.destroy(late()), CONNECT_TIMEOUT_MS);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once(event, resolve).once('error', reject);
      socket.once('close', () => reject(new Error('the connection was closed during the handshake')));
    });
    return socket;
  } catch (error) {
    throw await connectionError(error, endpoint);
  } finally {
    clearTimeout(timer);
  }
}

const late = (): Error =>
  Object.assign(new Error(`no answer within ${formatDuration(CONNECT_TIMEOUT_MS)}`), { code: 'ETIMEDOUT' });

/** Converts a failed handshake into an error that a user can act on. */
async function connectionError(error: unknown, endpoint: Endpoint): Promise<SciStreamError> {
  const code = systemCode(error) ?? '';
  if (/PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/.test(code)) {
    return unreachable(endpoint, error, 'it does not speak TLS 1.3', [
      'Ask the operator to enable TLS 1.3, or set facilities.<name>.minTls to 1.2.',
    ]);
  }
  if (/^ERR_SSL|^EPROTO/.test(code)) {
    return unreachable(endpoint, error, 'it does not speak TLS', [
      'Check the port. Add --insecure for a server without TLS.',
    ]);
  }
  if (/CERT|ISSUER|CRL|LEAF/.test(code)) {
    return untrusted(endpoint, messageOf(error), await shownFingerprint(endpoint), error);
  }
  return unreachable(endpoint, error);
}

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

const unproxied = (endpoint: Endpoint, error: ProxyError): SciStreamError =>
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

function untrusted(endpoint: Endpoint, why: string, seen: string | undefined, cause?: unknown): SciStreamError {
  const where = formatAddress(endpoint.address);
  const pin = `If the operator confirms the fingerprint, add --fingerprint ${seen ?? ''} or use ${where}#${seen ?? ''}`;
  return new SciStreamError('SCI_TLS_UNTRUSTED', `The certificate of control server ${where} is not trusted: ${why}.`, {
    cause,
    suggestions: [...(seen ? [pin] : []), 'Trust the CA that signed it: --ca FILE'],
  });
}

/** The server shows another certificate than the pinned one, as an attacker between client and server would. */
function changed({ facility, address }: Endpoint, expected: string, seen: string | undefined): SciStreamError {
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

/** Connects again, without sending data, to show the fingerprint of the certificate to the user. */
async function shownFingerprint(endpoint: Endpoint, timeout = CONNECT_TIMEOUT_MS): Promise<string | undefined> {
  const { certificate: _unused, ...anonymous } = endpoint;
  const through = await throughProxy(endpoint.address).catch(() => undefined);
  const options = { ...tlsOptions(anonymous), socket: through, rejectUnauthorized: false };
  const socket = connectTls({ ...options, timeout });
  return new Promise<string | undefined>((resolve) => {
    socket.once('secureConnect', () => resolve(peerFingerprint(socket)));
    socket.once('error', () => resolve(undefined));
    socket.once('timeout', () => resolve(undefined));
  }).finally(() => socket.destroy());
}
