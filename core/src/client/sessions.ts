import type { X509Certificate } from 'node:crypto';
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
import { changed, CONNECT_TIMEOUT_MS, unproxied, unreachable, untrusted } from './connection-errors.js';
import type { Endpoint } from './endpoint.js';

/** The same in the test whether a port that received plain text uses TLS, ms. */
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
    const socket = connectTls({ ...this.#tls, socket: await openThroughProxy(this.#endpoint) });
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
async function established(
  socket: Socket,
  event: 'connect' | 'secureConnect',
  endpoint: Endpoint,
  timeoutMs = CONNECT_TIMEOUT_MS,
): Promise<Socket> {
  const timer = setTimeout(() => socket.destroy(late(timeoutMs)), timeoutMs);
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

const late = (ms: number): Error =>
  Object.assign(new Error(`no answer within ${formatDuration(ms)}`), { code: 'ETIMEDOUT' });

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

/** The fingerprint of the certificate that a server shows now. */
const shownFingerprint = (endpoint: Endpoint, timeoutMs?: number): Promise<string | undefined> =>
  showServer(endpoint, timeoutMs).then(
    ({ certificate }) => fingerprintOf(certificate),
    () => undefined,
  );

/** What a control server shows to everyone that connects. */
export interface ShownServer {
  readonly certificate: X509Certificate;
  /** Why `trust` of the endpoint does not accept it; absent: it does. Always absent for a pinned certificate. */
  readonly distrust?: string;
}

/**
 * Connects without sending data, and returns the certificate that the server shows, whether it is trusted or not.
 * @param timeoutMs Maximum time for the handshakes, ms; default 10 s.
 * @throws SCI_S2CS_UNREACHABLE, SCI_CONFIG_NOT_FOUND when the CA file cannot be read
 */
export async function showServer(
  { certificate: _unused, ...endpoint }: Endpoint,
  timeoutMs?: number,
): Promise<ShownServer> {
  const options = { ...tlsOptions(endpoint), rejectUnauthorized: false };
  const socket = connectTls({ ...options, socket: await openThroughProxy(endpoint) });
  try {
    await established(socket, 'secureConnect', endpoint, timeoutMs);
    const certificate = socket.getPeerX509Certificate();
    if (!certificate) throw unreachable(endpoint, undefined, 'it shows no certificate');
    const distrusted = endpoint.trust.kind !== 'pin' && !socket.authorized;
    return { certificate, ...(distrusted && { distrust: messageOf(socket.authorizationError) }) };
  } finally {
    socket.destroy();
  }
}

/** @returns A tunnel if a proxy is configured. @throws SCI_S2CS_UNREACHABLE */
const openThroughProxy = (endpoint: Endpoint): Promise<Socket | undefined> =>
  throughProxy(endpoint.address).catch((error: unknown) => {
    throw error instanceof ProxyError ? unproxied(endpoint, error) : error;
  });
