import { once } from 'node:events';
import {
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import type { Socket } from 'node:net';
import { Code, ConnectError, createContextValues, type ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { inject, injectable } from 'tsyringe';
import { formatAddress, parseAddress } from '../contracts/address.js';
import type { Daemon, Listening } from '../contracts/daemon.js';
import { messageOf } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import { answer } from '../serving/answer.js';
import { CERTIFICATE, shownCertificate } from '../serving/client-certificates.js';
import { Connections, endOf, onlyAccepted } from '../serving/connections.js';
import { errorStatus, PEER } from '../serving/error-status.js';
import { Health } from '../serving/health.js';
import { listenOn } from '../serving/listen.js';
import { lockState, type Unlock } from '../serving/state-lock.js';
import { GatewayService } from '../wire/gen/scistream/v1/gateway_pb.js';
import { fromTargetsMessage, unreleasedMessage } from '../wire/messages.js';
import { connectResultsMessage, microseconds, mustBeAnswer } from '../wire/probes.js';
import { statisticsMessage, statusMessage } from '../wire/statistics.js';
import { fromReserveMessage } from '../wire/stream-spec.js';
import { ACCEPTED, enrolment } from './enrolment.js';
import { listenOnSocket, mutualTls, mutualTlsServer } from './listen.js';
import { LocalGateway } from './local-gateway.js';
import { S2DS_TOKENS, type DaemonSettings, type ReloadedSettings } from './tokens.js';

/** Detects a control server that vanished; otherwise its pending calls would stay open forever. */
const KEEPALIVE_MS = 30_000;
/** The one control server needs a few connections. Strangers and other peers of the same CA get the rest. */
const LIMITS = { clients: 64, clientsPerAddress: 16, strangerTimeoutMs: 10_000 } as const;

/** The program `s2ds`: one gateway behind a unix socket or a port. Start it once and stop it once. */
@injectable()
export class GatewayDaemon implements Daemon<ReloadedSettings> {
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #health = new Health([GatewayService.typeName]);
  #server: Http2Server | Http2SecureServer | undefined;
  /** Fingerprint of the only client certificate that is accepted; undefined: the first one enrols. */
  #pinned: string | undefined;
  #unlock: Unlock = () => Promise.resolve();

  constructor(
    @inject(S2DS_TOKENS.Settings) private readonly settings: DaemonSettings,
    @inject(LocalGateway) private readonly gateway: LocalGateway,
    @inject(S2DS_TOKENS.Logger) private readonly log: Logger,
  ) {
    this.#pinned = settings.s2cs?.fingerprint;
  }

  /** Opens the gateway and listens. @throws SCI_STATE_LOCKED, SCI_LISTEN_FAILED, and as `LocalGateway.open` */
  async start(): Promise<Listening> {
    this.#unlock = await lockState(this.settings.state);
    try {
      await this.gateway.open();
      const interceptors = [errorStatus(this.log), enrolment(this.settings.state, this.log, () => this.#pinned)];
      const connections = new Connections(LIMITS, this.log);
      const services = connectNodeAdapter({
        routes: (router) => routes(router, this.gateway),
        interceptors,
        contextValues: ({ socket }) =>
          createContextValues()
            .set(CERTIFICATE, shownCertificate(socket))
            .set(PEER, socket.remoteAddress ?? '')
            .set(ACCEPTED, () => connections.proven(endOf(socket))),
      });
      const handler = (request: Http2ServerRequest, response: Http2ServerResponse): void =>
        answer(this.#health, services, () => Promise.resolve(true), request, response);
      const { tls } = this.settings;
      const server = tls ? await mutualTlsServer(tls, handler, this.log) : createServer(handler);
      this.#server = server;
      const accepted = (socket: Socket): void => void socket.setKeepAlive(true, KEEPALIVE_MS);
      // Only the user of the daemons can open a unix socket.
      if (tls) onlyAccepted(server, connections, accepted);
      else server.on('connection', accepted);
      server.on('session', (session: ServerHttp2Session) => {
        this.#sessions.add(session);
        session.once('close', () => this.#sessions.delete(session));
      });
      await this.#listen(server);
      this.#health.stage = 'serving';
    } catch (error) {
      await this.stop().catch((failure: unknown) => this.log.error({ error: messageOf(failure) }, 'cleanup failed'));
      throw error;
    }
    return { address: this.settings.listen };
  }

  /**
   * Closes the gateway, the socket and every connection, and unlocks the state directory. Idempotent.
   * @param options.release Whether to release every stream first; otherwise the streams keep running.
   */
  async stop({ release = false } = {}): Promise<void> {
    this.#health.stage = 'stopping';
    const server = this.#server;
    this.#server = undefined;
    const closed = server && once(server, 'close');
    server?.close();
    try {
      if (release) await this.gateway.releaseAll();
      await this.gateway.close();
    } finally {
      for (const session of this.#sessions) session.destroy();
      await closed;
      await this.#unlock(this.gateway.streams > 0);
    }
  }

  /** Checks that a reservation could be stored. @throws SCI_STATE_WRITE */
  check(): Promise<void> {
    return this.gateway.check();
  }

  /**
   * Reads certificate, key and CA again, for new connections; existing connections stay open. The pinned fingerprint
   * also applies to existing connections. Without TLS, the files are ignored.
   * @throws SCI_CONFIG_INVALID; nothing has changed then
   */
  async reload({ tls, s2cs }: ReloadedSettings): Promise<undefined> {
    const options = tls && (await mutualTls(tls));
    const server = this.#server;
    if (options && server && 'setSecureContext' in server) server.setSecureContext(options);
    this.#pinned = s2cs?.fingerprint;
    return undefined;
  }

  async #listen(server: Http2Server | Http2SecureServer): Promise<void> {
    const { listen, tls } = this.settings;
    const advice = 'Set listen to a free port on an address of this machine, or to unix:/PATH.';
    if (tls) await listenOn(server, parseAddress(listen), advice);
    else await listenOnSocket(server, listen.replace(/^unix:/, ''));
    server.on('error', (error: unknown) => this.log.warn({ error: messageOf(error) }, 'connection not accepted'));
  }
}

/**
 * Ends a call whose caller has gone, or whose connection this daemon closes because it stops. Never with an answer: an
 * answer without an error would tell a control server that the stream has ended.
 */
const unlessGone =
  (signal: AbortSignal) =>
  (error: unknown): never => {
    throw signal.aborted ? new ConnectError('The connection is closed.', Code.Unavailable) : error;
  };

function routes(router: ConnectRouter, gateway: LocalGateway): void {
  router.service(GatewayService, {
    async describe() {
      const { advertiseSources = [], addresses = [], unreleased, ...rest } = await gateway.describe();
      return {
        ...rest,
        advertiseSources: [...advertiseSources],
        addresses: [...addresses],
        ...unreleasedMessage(unreleased),
      };
    },
    async keep({ uids }) {
      await gateway.keep(uids);
      return {};
    },
    async reserve(request) {
      const { uid, spec, tls } = fromReserveMessage(request);
      const { listeners, sources = [], ...reservation } = await gateway.reserve(uid, spec, tls);
      return { ...reservation, listeners: listeners.map(formatAddress), sources: [...sources] };
    },
    async start({ uid }, { signal }) {
      await gateway.start(uid, signal);
      return {};
    },
    async setTargets(request, { signal }) {
      await gateway.updateTargets(request.uid, fromTargetsMessage(request), signal);
      return {};
    },
    async release({ uid, keepPortsUntil }) {
      return { statistics: (await gateway.release(uid, keepPortsUntil || undefined)).map(statisticsMessage) };
    },
    async freePorts({ uid }) {
      await gateway.freePorts(uid);
      return {};
    },
    status: async ({ uid }) => statusMessage(await gateway.status(uid)),
    async awaitEnd({ uid }, { signal }) {
      const error = await gateway.ended(uid, signal).catch(unlessGone(signal));
      return statusMessage({
        state: error ? 'failed' : 'running',
        restarts: 0,
        listeners: [],
        ...(error ? { error } : {}),
      });
    },
    async awaitRestart({ uid, seen }, { signal }) {
      const restarts = await gateway.restarted(uid, seen, signal).catch(unlessGone(signal));
      return { count: restarts?.count ?? 0, last: [...(restarts?.last ?? [])] };
    },
    async handover({ uid }) {
      const tls = await gateway.handover(uid);
      return tls ? { tls } : {};
    },
    async openProbe({ uid, tls: encrypted }) {
      const { address, challenge, expiresMs, tls = false } = await gateway.openProbe(uid, encrypted);
      return { address: formatAddress(address), challenge, expiresMs: BigInt(expiresMs), tls };
    },
    async runProbe({ uid, address, challenge }) {
      return { roundTripUs: microseconds(await gateway.runProbe(uid, parseAddress(address), challenge)) };
    },
    async probeTargets({ uid, answer: how, address }) {
      const probe = address === '' ? undefined : parseAddress(address);
      return connectResultsMessage(await gateway.probeTargets(uid, mustBeAnswer(how), probe));
    },
    connectTargets: async ({ uid }) => connectResultsMessage(await gateway.connectTargets(uid)),
    connectListener: async ({ uid, holdMs }, { signal }) =>
      connectResultsMessage(await gateway.connectListener(uid, Number(holdMs), signal)),
  });
}
