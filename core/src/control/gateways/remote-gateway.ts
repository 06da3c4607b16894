import { connect, type Socket } from 'node:net';
import { Code, ConnectError, createClient, type Client, type Interceptor } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { formatAddress, parseAddress, type Address, type Target } from '../../contracts/address.js';
import { parseCredentials } from '../../contracts/credentials.js';
import { reasonOf, S2DSException, SciStreamError } from '../../contracts/errors.js';
import type { ConnectResult, Gateway, GatewayDescription, ProbeOffer, Reservation } from '../../contracts/gateway.js';
import { parseSources } from '../../contracts/network.js';
import type {
  ListenerStatistics,
  ProbeAnswer,
  Restarts,
  S2DSStatus,
  StreamSpec,
  StreamTls,
} from '../../contracts/stream.js';
import { mustBeTrusted } from '../../contracts/trust.js';
import { retry } from '../../contracts/wait.js';
import { fromConnectError, S2CS_KEY } from '../../wire/errors.js';
import { GatewayService } from '../../wire/gen/scistream/v1/gateway_pb.js';
import { GuardedSessions } from '../../wire/guarded-sessions.js';
import { fromUnreleased, targetsMessage } from '../../wire/messages.js';
import { fromConnectResults } from '../../wire/probes.js';
import { fromStatistics, fromStatus } from '../../wire/statistics.js';
import { reserveMessage } from '../../wire/stream-spec.js';
import { checkLinkTls, connectLink, type LinkTls } from './link-tls.js';

const CALL_TIMEOUT_MS = 60_000;
/** Delay before a call that waits for an event is retried, ms. */
const WAIT_RETRY_MS = 1_000;
/** Deadline for calls that a healthy daemon answers immediately, ms. */
const DESCRIBE_TIMEOUT_MS = 5_000;
/** Detects a connection that a firewall has dropped silently; TCP would take a quarter of an hour. */
const KEEPALIVE = { pingIntervalMs: 10_000, pingTimeoutMs: 10_000 } as const;
/** Delays before a call is retried whose answer was lost, for example because the daemon restarted, ms. */
const RETRIES_MS = [250, 1_000];

/** A gateway that is a daemon of its own (`s2ds`), commanded through its Unix socket or its port. */
export class RemoteGateway implements Gateway {
  readonly #sessions: GuardedSessions;
  readonly #client: Client<typeof GatewayService>;
  readonly #closed = new AbortController();
  #lost: () => void = () => undefined;

  /**
   * @param socket `unix:/path` of the daemon, or host:port.
   * @param id Returns the id of this control server.
   * @param tls For mutual authentication; with host:port only.
   */
  constructor(
    readonly name: string,
    private readonly socket: string,
    id: () => Promise<string>,
    private readonly tls?: LinkTls,
  ) {
    const origin = tls ? `https://${socket}` : 'http://localhost';
    this.#sessions = new GuardedSessions(origin, KEEPALIVE, { createConnection: () => this.#connect() });
    const transport = createGrpcTransport({
      baseUrl: this.#sessions.authority,
      defaultTimeoutMs: CALL_TIMEOUT_MS,
      sessionManager: this.#sessions,
      interceptors: [identification(id)],
    });
    this.#client = createClient(GatewayService, transport);
  }

  onLost(listener: () => void): void {
    this.#lost = listener;
  }

  async open(): Promise<void> {
    if (this.tls) await checkLinkTls(this.name, this.tls);
    const { name } = await this.describe();
    if (name !== this.name) {
      throw new SciStreamError(
        'SCI_CONFIG_INVALID',
        `gateways: ${this.socket} belongs to gateway ${name}, not ${this.name}.`,
        { suggestions: [`Set name: ${name} in this entry of gateways, or name: ${this.name} in s2ds.conf.`] },
      );
    }
  }

  async keep(uids: readonly string[]): Promise<void> {
    await this.#call(() => this.#client.keep({ uids: [...uids] }));
  }

  async describe(): Promise<GatewayDescription> {
    const told = await this.#call(() => this.#client.describe({}, { timeoutMs: DESCRIBE_TIMEOUT_MS }));
    // Copied: the message has fields that a gateway does not set.
    const { name, wan, lan, advertise, advertiseSources: sources, addresses, ports, proxy, runtime, portsInUse } = told;
    const more = {
      ...(advertise && { advertise }),
      ...(sources.length > 0 && { advertiseSources: parseSources(sources) }),
      ...fromUnreleased(told),
    };
    return { name, wan, lan, ...more, addresses, ports, proxy, runtime, portsInUse };
  }

  async reserve(uid: string, spec: StreamSpec, tls?: StreamTls): Promise<Reservation> {
    const { gateway, proxy, runtime, listeners, rateEnforced, sources } = await this.#retry(() =>
      this.#client.reserve(reserveMessage(uid, spec, tls)),
    );
    const enforced = sources.length > 0 && { sources: parseSources(sources) };
    return {
      gateway,
      proxy,
      runtime,
      rateEnforced,
      listeners: listeners.map((text) => parseAddress(text)),
      ...enforced,
    };
  }

  async start(uid: string, signal: AbortSignal): Promise<void> {
    await this.#retry(() => this.#client.start({ uid }, { signal }), signal);
  }

  async updateTargets(uid: string, targets: readonly Target[], signal: AbortSignal): Promise<void> {
    const request = { uid, ...targetsMessage(targets) };
    await this.#retry(() => this.#client.setTargets(request, { signal }), signal);
  }

  async release(uid: string, keepPortsUntil = ''): Promise<readonly ListenerStatistics[]> {
    return (await this.#retry(() => this.#client.release({ uid, keepPortsUntil }))).statistics.map(fromStatistics);
  }

  async freePorts(uid: string): Promise<void> {
    await this.#call(() => this.#client.freePorts({ uid }, { timeoutMs: DESCRIBE_TIMEOUT_MS }));
  }

  async handover(uid: string): Promise<StreamTls | undefined> {
    const { tls } = await this.#call(() => this.#client.handover({ uid }));
    return tls && parseCredentials(tls);
  }

  async status(uid: string): Promise<S2DSStatus> {
    return fromStatus(await this.#call(() => this.#client.status({ uid }, { timeoutMs: DESCRIBE_TIMEOUT_MS })));
  }

  async ended(uid: string): Promise<S2DSException | undefined> {
    try {
      const status = await this.#await(() => this.#client.awaitEnd({ uid }, { timeoutMs: 0 }));
      return status && fromStatus(status).error;
    } catch (error) {
      return error as S2DSException;
    }
  }

  async restarted(uid: string, seen: number): Promise<Restarts | undefined> {
    const told = await this.#await(() => this.#client.awaitRestart({ uid, seen }, { timeoutMs: 0 }));
    if (!told || told.count === 0) return undefined;
    return { count: told.count, last: told.last.map(({ at, reason }) => ({ at, reason })) };
  }

  async openProbe(uid: string, tls = false): Promise<ProbeOffer> {
    const offer = await this.#call(() => this.#client.openProbe({ uid, tls }));
    const { address, challenge, expiresMs } = offer;
    return { address: parseAddress(address), challenge, expiresMs: Number(expiresMs), tls: offer.tls };
  }

  async runProbe(uid: string, address: Address, challenge: string): Promise<number> {
    const request = { uid, address: formatAddress(address), challenge };
    return Number((await this.#call(() => this.#client.runProbe(request))).roundTripUs) / 1000;
  }

  async probeTargets(uid: string, answer: ProbeAnswer, probe?: Address): Promise<readonly ConnectResult[]> {
    const request = { uid, answer, address: probe ? formatAddress(probe) : '' };
    return fromConnectResults(await this.#call(() => this.#client.probeTargets(request)));
  }

  async connectTargets(uid: string): Promise<readonly ConnectResult[]> {
    return fromConnectResults(await this.#call(() => this.#client.connectTargets({ uid })));
  }

  async connectListener(uid: string, holdMs: number, signal: AbortSignal): Promise<readonly ConnectResult[]> {
    const request = { uid, holdMs: BigInt(holdMs) };
    return fromConnectResults(await this.#call(() => this.#client.connectListener(request, { signal }), signal));
  }

  /** Disconnects. The streams of the daemon keep running. */
  async close(): Promise<void> {
    this.#closed.abort();
    this.#sessions.abort();
  }

  #connect(): Socket {
    const socket = this.tls ? connectLink(this.socket, this.tls) : this.#connectLocally();
    socket.once('connect', () => socket.once('close', () => this.#lost()));
    return socket;
  }

  /** The daemon gets the credentials of streams: no other user may listen on its path. @throws SCI_FILE_UNTRUSTED */
  #connectLocally(): Socket {
    const path = this.socket.replace(/^unix:/, '');
    mustBeTrusted(path);
    return connect(path);
  }

  /**
   * Makes a call that waits for an event, and retries it while the daemon is unreachable or rejects this control server: its
   * proxies keep forwarding, and it reports their state when it is back.
   * @returns undefined if this object was closed
   */
  async #await<T>(call: () => Promise<T>): Promise<T | undefined> {
    const { signal } = this.#closed;
    const pauseMs = (error: unknown): number | undefined =>
      isLost(error) || isForbidden(error) ? WAIT_RETRY_MS : undefined;
    try {
      return await retry(() => this.#call(call), { pauseMs, signal, ref: false });
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    }
  }

  /** Makes a call and retries it if the answer is lost. All calls that change something are idempotent. */
  async #retry<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const pauseMs = (error: unknown, failures: number): number | undefined =>
      isLost(error) && !this.#closed.signal.aborted ? RETRIES_MS[failures - 1] : undefined;
    return await retry(() => this.#call(call, signal), { pauseMs, signal, ref: false });
  }

  async #call<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      const theirs = error instanceof ConnectError ? fromConnectError(error) : undefined;
      if (theirs)
        throw new S2DSException(theirs.code, theirs.message, { suggestions: theirs.suggestions, cause: error });
      if (error instanceof ConnectError && error.code === Code.Unimplemented) {
        const text = `The gateway at ${this.socket} has another version and does not offer this call.`;
        throw new S2DSException('SCI_NOT_OFFERED', text, {
          cause: error,
          suggestions: ['Upgrade SciStream on that gateway and restart s2ds.'],
        });
      }
      const why = this.tls ? `: ${reasonOf(error)}` : '';
      throw new S2DSException('SCI_S2DS_UNREACHABLE', `The gateway at ${this.socket} does not answer${why}.`, {
        cause: error,
        suggestions: [
          'Start it on its host: scistream s2ds --config s2ds.conf',
          'Check that gateways[].s2ds is the same address as listen in s2ds.conf.',
          ...(this.tls ? ['Check that gateways[].tls matches tls in s2ds.conf.'] : []),
        ],
      });
    }
  }
}

const isLost = (error: unknown): boolean => S2DSException.is(error) && error.code === 'SCI_S2DS_UNREACHABLE';
const isForbidden = (error: unknown): boolean => S2DSException.is(error) && error.code === 'SCI_FORBIDDEN';

/** Adds the id of this control server to every call. */
const identification =
  (id: () => Promise<string>): Interceptor =>
  (next) =>
  async (request) => {
    request.header.set(S2CS_KEY, await id());
    return await next(request);
  };
