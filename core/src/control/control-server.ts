import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Session,
} from 'node:http2';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { TlsOptions, TLSSocket } from 'node:tls';
import { createContextValues } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { inject, injectable } from 'tsyringe';
import type { S2csConfig } from '../config/index.js';
import { formatAddress, isLoopback, type Address } from '../contracts/address.js';
import type { Daemon, Listening } from '../contracts/daemon.js';
import { messageOf, SciStreamError } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import { within } from '../contracts/wait.js';
import type { Metrics } from '../observe/metrics.js';
import { fingerprintOf } from '../pki/inspect.js';
import type { Providers } from '../plugins/index.js';
import { answer, type Decide, type Request, type Response } from '../serving/answer.js';
import { readKeyPair, selfSigned, type KeyPair } from '../serving/certificate.js';
import { clientTrust, mustAskAlike } from '../serving/client-certificates.js';
import { Connections, endOf, onlyAccepted } from '../serving/connections.js';
import { errorStatus, PEER } from '../serving/error-status.js';
import { Health } from '../serving/health.js';
import { listenOn } from '../serving/listen.js';
import { lockState, type Unlock } from '../serving/state-lock.js';
import { Streams } from '../wire/gen/scistream/v1/streams_pb.js';
import { Control } from '../wire/gen/scistream_pb.js';
import { Admission, FIRST_CALLS } from './door/admission.js';
import { authentication, VERDICT } from './door/authentication.js';
import { controlService, streamsService, type ServiceParts } from './door/services.js';
import { RESPONSE } from './door/unread.js';
import { GatewayPool } from './gateways/pool.js';
import { AuthenticatorInForce } from './in-force.js';
import type { ControlServerSettings, OpenAuthenticator, Prepare } from './parts/settings.js';
import { TOKENS } from './parts/tokens.js';
import { StreamController } from './streams/controller.js';

const MAX_MESSAGE_BYTES = 1024 * 1024;
/** All headers of one call: names and values, plus 32 bytes for each, as HTTP/2 counts. */
const MAX_HEADER_BYTES = 32 * 1024;
/** Protocol errors of a peer before its connection is closed. nghttp2 limits rapid resets. */
const MAX_FAULTS = 100;
const HANDSHAKE_MS = 10_000;
const CLOSE_GRACE_MS = 2_000;
/** Without it, a peer that disappears silently would hold a Watch without limit: it may send nothing for hours. */
const KEEPALIVE_MS = 30_000;

const HTTP = {
  maxHeaderSize: MAX_HEADER_BYTES,
  handshakeTimeout: HANDSHAKE_MS,
  maxSessionInvalidFrames: MAX_FAULTS,
  maxSessionRejectedStreams: MAX_FAULTS,
  settings: { maxConcurrentStreams: FIRST_CALLS, maxHeaderListSize: MAX_HEADER_BYTES },
} as const;

/** The address of a started server. */
export interface ServerListening extends Listening {
  readonly scheme: 'https' | 'http';
}

/**
 * The network side of a control server: gRPC, gRPC-Web and Connect (JSON) for both services on one TLS port. Started once
 * and stopped once.
 */
@injectable()
export class ControlServer implements Daemon<S2csConfig> {
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #sockets = new Set<Socket>();
  readonly #health: Health;
  #server: Http2SecureServer | Http2Server | undefined;
  #authenticator: AuthenticatorInForce | undefined;
  /** PEM of the CA for client certificates. */
  #clientCa: TlsOptions['ca'];
  #unlock: Unlock = () => Promise.resolve();
  #closeMetrics = (): Promise<void> => Promise.resolve();
  /** Whether calls are served. Until then they are rejected. */
  #opened = false;

  constructor(
    @inject(TOKENS.Settings) private readonly settings: ControlServerSettings,
    @inject(StreamController) private readonly controller: StreamController,
    @inject(GatewayPool) private readonly gateways: GatewayPool,
    @inject(TOKENS.Providers) private readonly providers: Providers,
    @inject(TOKENS.Authenticator) private readonly authenticator: () => Promise<OpenAuthenticator>,
    @inject(TOKENS.Prepare) private readonly prepare: Prepare,
    @inject(TOKENS.Logger) private readonly log: Logger,
  ) {
    const names = [Control.typeName, Streams.typeName];
    this.#health = new Health(names, () => gateways.degraded);
  }

  /**
   * Locks the state directory, listens, and opens the gateways.
   * @throws SCI_STATE_LOCKED, SCI_LISTEN_FAILED, SCI_CONFIG_INVALID, and what opening a gateway raises
   */
  async start(): Promise<ServerListening> {
    this.#unlock = await lockState(this.settings.state);
    try {
      return await this.#open();
    } catch (error) {
      await this.stop().catch((failure: unknown) => this.log.error({ error: messageOf(failure) }, 'cleanup failed'));
      throw error;
    }
  }

  /**
   * Rejects new calls, ends waiting ones, finishes those in progress, and unlocks the state directory. Idempotent.
   * @param options.release Whether to release every stream too. Otherwise they keep running for the next start.
   * @throws The first error, after everything else was stopped
   */
  async stop({ release = false } = {}): Promise<void> {
    this.#health.stage = 'stopping';
    const server = this.#server;
    this.#server = undefined;
    const closed = server && once(server, 'close');
    server?.close();
    const failures: unknown[] = [];
    await this.controller.close(release).catch((error: unknown) => failures.push(error));
    for (const session of this.#sessions) session.close();
    if (closed) await within(closed, CLOSE_GRACE_MS, () => new Error('late')).catch(() => this.#closeSockets());
    await this.#authenticator?.close().catch((error: unknown) => failures.push(error));
    await this.#closeMetrics();
    await this.#unlock(this.controller.counts().streams > 0);
    if (failures.length > 0) throw failures[0];
  }

  /**
   * Applies the keys of a configuration that can change while calls are served: `auth`, `policy`, `audit`, `limits`, `tls`,
   * `minTls`. Reads the files that they name again. Applies all of them or nothing. Calls in progress and streams are not
   * affected. Calls of this method must not overlap.
   * @returns The fingerprint of the certificate for new connections; undefined without TLS.
   * @throws What is wrong with the configuration
   */
  async reload(config: S2csConfig): Promise<string | undefined> {
    mustAskAlike(this.settings.tls, config.tls);
    const pair = await this.#secure(config);
    const prepared = await this.prepare(config);
    const server = this.#server;
    if (!server || !this.#authenticator) {
      await prepared.discard();
      throw new SciStreamError('SCI_SHUTTING_DOWN', 'The control server is not running.');
    }
    if (pair && 'setSecureContext' in server) server.setSecureContext(pair);
    if (pair?.ca !== this.#clientCa) this.#distrust();
    this.#clientCa = pair?.ca;
    this.#authenticator.replace(prepared.authenticator);
    prepared.commit();
    this.#warnIfOpen(prepared.authenticator);
    return pair && fingerprintOf(new X509Certificate(pair.cert));
  }

  /** Checks that a stream can be stored. @throws SCI_STATE_WRITE */
  check(): Promise<void> {
    return this.controller.check();
  }

  #warnIfOpen({ authenticator }: OpenAuthenticator): void {
    const { listen } = this.settings;
    if (!authenticator.allowsAnonymous || isLoopback(listen.host)) return;
    this.log.warn(
      { listen: formatAddress(listen) },
      'authentication is off: all callers that reach this port are accepted',
    );
  }

  async #open(): Promise<ServerListening> {
    const opened = await this.authenticator();
    const authenticator = new AuthenticatorInForce(opened);
    this.#authenticator = authenticator;
    this.#warnIfOpen(opened);
    const connections = new Connections(this.settings.limits, this.log);
    const admission = new Admission(authenticator, this.settings.limits, connections, this.log);
    const responses = new WeakMap<Request, Response>();
    const { controller, gateways, providers } = this;
    const { facility, limits } = this.settings;
    const parts: ServiceParts = { facility, limits, controller, gateways, providers, log: this.log };
    const metrics = await this.#metrics();
    const services = connectNodeAdapter({
      routes: (router) => {
        controlService(router, parts);
        streamsService(router, parts);
      },
      interceptors: [errorStatus(this.log), ...(metrics ? [metrics.interceptor] : []), authentication],
      contextValues: (request) =>
        createContextValues()
          .set(PEER, request.socket.remoteAddress ?? '')
          .set(VERDICT, admission.verdictOf(request))
          .set(RESPONSE, responses.get(request)),
      readMaxBytes: MAX_MESSAGE_BYTES,
    });
    const decide: Decide = (request, response) => admission.decide(request, response);
    const handler = (request: Request, response: Response): void => {
      responses.set(request, response);
      answer(this.#health, services, this.#opened ? decide : undefined, request, response);
    };
    const pair = await this.#secure(this.settings);
    this.#clientCa = pair?.ca;
    const server = pair
      ? createSecureServer({ ...HTTP, ...pair, allowHTTP1: true }, handler)
      : createServer(HTTP, handler);
    this.#server = server;
    server.on('session', (session: ServerHttp2Session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
    });
    onlyAccepted(server, connections, (socket) => {
      socket.setKeepAlive(true, KEEPALIVE_MS);
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
      const why = socket.authorizationError ?? messageOf(error);
      this.log.debug({ peer: socket.remoteAddress, error: String(why) }, 'TLS handshake failed');
    });
    server.on('sessionError', (error: unknown) => this.log.debug({ error: messageOf(error) }, 'session failed'));
    await listenOn(server, this.settings.listen, 'Set listen to a free port on an address of this machine.');
    // After the address is bound: a second server started by mistake must not disturb the streams of the first one.
    await this.controller.open();
    this.#opened = true;
    this.#health.stage = 'serving';
    // A failed accept (EMFILE) concerns one caller. Without an error listener it would end the process.
    server.on('error', (error: unknown) => this.log.warn({ error: messageOf(error) }, 'connection not accepted'));
    return {
      address: formatAddress(addressOf(server, this.settings.listen)),
      scheme: pair ? 'https' : 'http',
      ...(pair ? { fingerprint: fingerprintOf(new X509Certificate(pair.cert)) } : {}),
    };
  }

  /** Serves the metrics if the configuration has an address for them. The library is loaded only then. */
  async #metrics(): Promise<Metrics | undefined> {
    const { metrics: listen } = this.settings;
    if (!listen) return undefined;
    const [{ Metrics }, { serveMetrics }] = await Promise.all([
      import('../observe/metrics.js'),
      import('../observe/metrics-listener.js'),
    ]);
    const { gateways, controller } = this;
    const metrics = new Metrics({ gateways: () => gateways.overview(), streams: () => controller.records });
    this.#closeMetrics = await serveMetrics(metrics, listen, this.log);
    return metrics;
  }

  /** Reads the files of `tls`, at the start and on reload. */
  async #secure({
    tls,
    minTls,
  }: Pick<ControlServerSettings, 'tls' | 'minTls'>): Promise<(KeyPair & TlsOptions) | undefined> {
    const { insecure, state, listen, wan } = this.settings;
    if (insecure) return undefined;
    const pair = await (tls ? readKeyPair(tls) : selfSigned(join(state, 'tls'), [listen.host, ...wan]));
    return { ...(await clientTrust(tls, minTls)), ...pair };
  }

  /**
   * Applies a new CA for client certificates to open connections. They accept no new calls. Calls in progress continue,
   * except over HTTP/1.1, where the connection is closed.
   */
  #distrust(): void {
    const sessions = [...this.#sessions].filter(({ destroyed }) => !destroyed);
    const ends = new Set(sessions.map(({ socket }) => endOf(socket)));
    for (const socket of this.#sockets) if (!ends.has(endOf(socket))) socket.destroy();
    for (const session of sessions) session.close();
  }

  /** Closes the connections of clients that have not closed them in time. */
  #closeSockets(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

function addressOf(server: Http2SecureServer | Http2Server, asked: Address): Address {
  const bound = server.address();
  return typeof bound === 'object' && bound ? { host: asked.host, port: bound.port } : asked;
}
