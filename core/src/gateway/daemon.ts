import { once } from 'node:events';
import { chmod, lstat, mkdir, rm } from 'node:fs/promises';
import {
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import { connect, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { createContextValues, type ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { formatAddress, parseAddress } from '../contracts/address.js';
import { messageOf, SciStreamError, systemCode } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import { answer } from '../serving/answer.js';
import { CERTIFICATE, shownCertificate } from '../serving/client-certificates.js';
import { errorStatus } from '../serving/error-status.js';
import { Health } from '../serving/health.js';
import { lockState } from '../serving/state-lock.js';
import { GatewayService } from '../wire/gen/scistream/v1/gateway_pb.js';
import { connectResultsMessage, microseconds, statisticsMessage, statusMessage } from '../wire/messages.js';
import { fromReserveMessage } from '../wire/stream-spec.js';
import { listenOn, mutualTls, mutualTlsServer, type DaemonTls } from './daemon-tls.js';
import { enrolment } from './enrolment.js';
import type { LocalGateway } from './local-gateway.js';

/** A control server that vanished without a word would otherwise hold what waits for its streams. */
const KEEPALIVE_MS = 30_000;

/** The keys of the same names in the configuration. */
export interface DaemonSettings {
  /** `unix:/path`; whoever may open the socket commands the data server, so it is made 0600. Or host:port, with `tls`. */
  readonly listen: string;
  readonly tls?: DaemonTls | undefined;
  /** The certificate of the one control server that may command; absent: of the first that does. */
  readonly s2cs?: { readonly fingerprint: string } | undefined;
  readonly state: string;
}

/** A data server (S2DS) as a daemon of its own: one gateway behind a unix socket or a port. Start it once and stop it once. */
export class GatewayDaemon {
  readonly #path: string;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #health = new Health([GatewayService.typeName]);
  #server: Http2Server | Http2SecureServer | undefined;
  /** Fingerprint of the only certificate that may command, if there is one. */
  #pinned: string | undefined;
  #unlock: () => Promise<void> = () => Promise.resolve();

  constructor(
    private readonly settings: DaemonSettings,
    private readonly gateway: LocalGateway,
    private readonly log: Logger,
  ) {
    this.#path = settings.listen.replace(/^unix:/, '');
    this.#pinned = settings.s2cs?.fingerprint;
  }

  /** @throws SCI_STATE_LOCKED, SCI_LISTEN_FAILED, and what opening the gateway raises. @returns where it listens */
  async start(): Promise<{ readonly address: string }> {
    this.#unlock = await lockState(this.settings.state);
    try {
      await this.gateway.open();
      const interceptors = [errorStatus(this.log), enrolment(this.settings.state, this.log, () => this.#pinned)];
      const services = connectNodeAdapter({
        routes: (router) => routes(router, this.gateway),
        interceptors,
        contextValues: ({ socket }) => createContextValues().set(CERTIFICATE, shownCertificate(socket)),
      });
      const handler = (request: Http2ServerRequest, response: Http2ServerResponse): void =>
        answer(this.#health, services, () => Promise.resolve(true), request, response);
      const { tls } = this.settings;
      const server = tls ? await mutualTlsServer(tls, handler, this.log) : createServer(handler);
      this.#server = server;
      server.on('connection', (socket: Socket) => socket.setKeepAlive(true, KEEPALIVE_MS));
      server.on('session', (session: ServerHttp2Session) => {
        this.#sessions.add(session);
        session.once('close', () => this.#sessions.delete(session));
      });
      await this.#listen(server);
      this.#health.stage = 'serving';
    } catch (error) {
      await this.stop().catch((failure: unknown) => this.log.error({ error: messageOf(failure) }, 'cannot clean up'));
      throw error;
    }
    return { address: this.settings.listen };
  }

  /**
   * Gives the socket and the state directory back. Idempotent.
   * @param options.release Whether to release every stream first; otherwise they go on.
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
      await this.#unlock();
    }
  }

  /** Makes sure that what the gateway promises could be stored. @throws SCI_STATE_WRITE */
  check(): Promise<void> {
    return this.gateway.check();
  }

  /**
   * Reads certificate, key and CA anew, for connections from now on; those that are there live on. Which certificate may
   * command counts for them, too. Without TLS it does nothing.
   * @throws SCI_CONFIG_INVALID; then nothing has changed
   */
  async reload({ tls, s2cs }: Pick<DaemonSettings, 'tls' | 's2cs'>): Promise<void> {
    const options = tls && (await mutualTls(tls));
    const server = this.#server;
    if (options && server && 'setSecureContext' in server) server.setSecureContext(options);
    this.#pinned = s2cs?.fingerprint;
  }

  async #listen(server: Http2Server | Http2SecureServer): Promise<void> {
    await (this.settings.tls ? listenOn(server, this.settings.listen) : this.#listenHere(server));
    server.on('error', (error: unknown) => this.log.warn({ error: messageOf(error) }, 'a connection was not accepted'));
  }

  async #listenHere(server: Http2Server | Http2SecureServer): Promise<void> {
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      await removeStale(this.#path);
      // `listen` binds before it returns; a moment longer and files that others make would get this mask.
      const before = process.umask(0o177);
      try {
        server.listen(this.#path);
      } finally {
        process.umask(before);
      }
      await once(server, 'listening');
      await chmod(this.#path, 0o600);
    } catch (error) {
      throw new SciStreamError('SCI_LISTEN_FAILED', `Cannot listen on ${this.#path}: ${messageOf(error)}.`, {
        cause: error,
        suggestions: ['Set listen to unix:/PATH in a directory that you may write to.'],
      });
    }
  }
}

/** Removes the socket file of a daemon that is gone. @throws when somebody listens there, or it is no socket */
async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (!found) return;
  if (!found.isSocket()) throw new Error('there is a file that is no socket');
  const socket = connect(path);
  const answer = await once(socket, 'connect').catch(systemCode);
  socket.destroy();
  if (answer !== 'ECONNREFUSED') throw new Error('another program listens there');
  await rm(path, { force: true });
}

/** Who is gone hears nothing any more. */
const unlessGone =
  (signal: AbortSignal) =>
  (error: unknown): undefined => {
    if (!signal.aborted) throw error;
  };

function routes(router: ConnectRouter, gateway: LocalGateway): void {
  router.service(GatewayService, {
    describe: () => gateway.describe(),
    async keep({ uids }) {
      await gateway.keep(uids);
      return {};
    },
    async reserve(request) {
      const { uid, spec, tls } = fromReserveMessage(request);
      const reservation = await gateway.reserve(uid, spec, tls);
      return { ...reservation, listeners: reservation.listeners.map(formatAddress) };
    },
    async start({ uid }, { signal }) {
      await gateway.start(uid, signal);
      return {};
    },
    async setTargets({ uid, targets }, { signal }) {
      await gateway.updateTargets(
        uid,
        targets.map((text) => parseAddress(text, 'Target')),
        signal,
      );
      return {};
    },
    async release({ uid }) {
      return { statistics: (await gateway.release(uid)).map(statisticsMessage) };
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
    async openProbe({ uid }) {
      const { address, challenge, expiresMs } = await gateway.openProbe(uid);
      return { address: formatAddress(address), challenge, expiresMs: BigInt(expiresMs) };
    },
    async runProbe({ uid, address, challenge }) {
      return { roundTripUs: microseconds(await gateway.runProbe(uid, parseAddress(address), challenge)) };
    },
    connectTargets: async ({ uid }) => connectResultsMessage(await gateway.connectTargets(uid)),
    connectListener: async ({ uid, holdMs }, { signal }) =>
      connectResultsMessage(await gateway.connectListener(uid, Number(holdMs), signal)),
  });
}
