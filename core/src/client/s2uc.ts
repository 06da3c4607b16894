import type { S2ucConfig } from '../config/schemas.js';
import { formatAddress } from '../contracts/address.js';
import { silentLogger, type Logger } from '../contracts/logger.js';
import { parseProbeAnswer, parseUid, type ProbeAnswer, type StreamTls } from '../contracts/stream.js';
import { Clients } from './clients.js';
import type { ControlClient } from './control-client.js';
import { credentialsFor } from './credentials.js';
import { exposesToken, overridden, type Endpoint, type TrustSettings } from './endpoint.js';
import { followSources, type FollowedStreamEvent, type FollowOptions } from './events.js';
import { findStream } from './find.js';
import {
  gatewayState,
  listGateways,
  streamMove,
  type GatewayList,
  type GatewayState,
  type StreamMove,
} from './gateways.js';
import { clientStateDir, Journal } from './journal.js';
import {
  defined,
  mustDiffer,
  needsProducer,
  toPlan,
  type InboundPlan,
  type OutboundPlan,
  type ServerRef,
  type StreamPlan,
} from './plan.js';
import type { Side } from './setup.js';
import type { StreamHandle } from './stream-handle.js';
import { StreamMaker, type ProgressEvent } from './stream-maker.js';
import { listStreams, type StreamList } from './survey.js';
import { fromTicket, mustAgree, parseTicket, peerEndpoint, ticketOf, type InboundSide } from './ticket.js';

/** Options of {@link S2UC}. */
export interface S2ucOptions {
  readonly log?: Logger;
  /** Called synchronously; must not throw. */
  readonly onProgress?: (event: ProgressEvent) => void;
  /** Directory of the journal; default {@link clientStateDir}. */
  readonly stateDir?: string;
  /** Trust for control servers given as host:port. */
  readonly trust?: TrustSettings;
  /** Settings that replace those in the journal for control servers that were given as host:port. */
  readonly override?: TrustSettings;
  /** Deadline of calls that a control server answers from memory, ms; default 10 s. */
  readonly deadlineMs?: number | undefined;
}

/** The identity of a user at a control server. */
export interface Whoami {
  readonly facility: string;
  /** Address of the control server, host:port. */
  readonly s2cs: string;
  readonly subject: string;
  /** Id of the authenticator, or the issuer of the token. */
  readonly issuer: string;
  readonly admin: boolean;
  readonly groups: readonly string[];
  /** End of the token, ISO 8601 UTC; empty if the token does not expire or does not name a time. */
  readonly expiresAt: string;
}

/** Control servers and streams to include in a search. */
export interface SearchOptions {
  readonly servers?: readonly ServerRef[] | undefined;
  readonly ended?: boolean | undefined;
  readonly forRelease?: boolean | undefined;
  readonly forChange?: boolean | undefined;
  readonly owner?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The user client: creates streams across two control servers (protocol.md §3) and finds existing ones. One instance is
 * enough for a program; calls may overlap. Close it at the end.
 */
export class S2UC implements AsyncDisposable {
  readonly #facilities: S2ucConfig['facilities'];
  readonly #options: S2ucOptions;
  readonly #log: Logger;
  readonly #journal: Journal;
  readonly #maker: StreamMaker;
  readonly #clients: Clients;

  constructor({ facilities = {} }: Partial<Pick<S2ucConfig, 'facilities'>> = {}, options: S2ucOptions = {}) {
    this.#facilities = facilities;
    this.#options = options;
    this.#log = options.log ?? silentLogger;
    this.#clients = new Clients(facilities, { ...options, log: this.#log });
    this.#journal = new Journal(options.stateDir ?? clientStateDir(), this.#log);
    this.#maker = new StreamMaker({ journal: this.#journal, log: this.#log, onProgress: options.onProgress });
  }

  /**
   * Creates a stream and returns when it is ready. On any error, and when `signal` aborts, it first releases both
   * sides.
   * @throws The first error, with its side; SCI_USAGE when both sides have the same control server, where a uid can
   * exist only once; the reason of `signal`.
   */
  async up(options: StreamPlan, signal?: AbortSignal): Promise<StreamHandle> {
    const started = performance.now();
    const plan = toPlan(options);
    needsProducer(plan);
    const credentials = credentialsFor(plan);
    const from = this.#side('inbound', options.from, credentials?.from);
    const to = this.#side('outbound', options.to, credentials?.to);
    mustDiffer(from.client.endpoint.address, to.client.endpoint.address);
    const parts = { from: from.client, to: to.client, fresh: options.uid === undefined };
    return (await this.#maker.make([from, to], plan, parts, started, signal)).handle;
  }

  /**
   * Creates only the inbound side.
   * @returns The handle, and the ticket for the outbound side. The ticket is a secret if the stream is encrypted.
   * @throws as {@link up}
   */
  async inbound(
    options: InboundPlan,
    signal?: AbortSignal,
  ): Promise<{ readonly handle: StreamHandle; readonly ticket: string }> {
    const started = performance.now();
    const plan = toPlan(options);
    needsProducer(plan);
    const credentials = credentialsFor(plan);
    const from = this.#side('inbound', options.from, credentials?.from);
    const parts = { from: from.client, fresh: options.uid === undefined };
    const { handle, listeners } = await this.#maker.make([from], plan, parts, started, signal);
    try {
      const probe = credentials && (await probeAnswer(plan.uid, from.client, signal));
      const side = { expiresAt: handle.initial.expiresAt, probe };
      return { handle, ticket: ticketOf(plan, from.client, listeners, side, credentials?.to) };
    } catch (error) {
      await handle.down();
      throw error;
    }
  }

  /**
   * Creates the outbound side for an existing inbound side. If the inbound control server rejects requests, because
   * another user owns the inbound side, its hop counts as not checked. The path between the gateways is checked as the
   * ticket says, or with TCP only.
   * @param inbound A ticket as pasted, or only the listeners.
   * @throws SCI_TICKET_INVALID; SCI_USAGE when only one side is encrypted; otherwise as {@link up}
   */
  async outbound(inbound: string | InboundSide, options: OutboundPlan, signal?: AbortSignal): Promise<StreamHandle> {
    const started = performance.now();
    const known: InboundSide = typeof inbound === 'string' ? parseTicket(inbound) : inbound;
    const given = options.uid ?? known.uid;
    const plan = toPlan({ ...fromTicket(known), ...defined(options), uid: given });
    mustAgree(plan, known);
    const to = this.#side('outbound', options.to, known.tls);
    if (known.s2cs) mustDiffer(known.s2cs, to.client.endpoint.address);
    const peer = known.s2cs && this.#clients.at(peerEndpoint(known.s2cs, known.fingerprint, this.#options.trust));
    const parts = { to: to.client, peer, probe: known.probe, fresh: given === undefined };
    return (await this.#maker.make([to], plan, parts, started, signal, known.listeners)).handle;
  }

  /**
   * All streams of this user at the configured facilities and in the journal.
   * @param servers Additional control servers.
   * @param ended Whether to include ended streams.
   */
  async list({ servers = [], ended = false, signal }: SearchOptions = {}): Promise<StreamList> {
    return await listStreams(this.#survey(servers, signal), ended);
  }

  /**
   * Finds one stream.
   * @param ref uid, prefix of a uid of at least 6 characters, or name.
   * @param servers Additional control servers.
   * @param ended Whether a name also matches an ended stream; default true.
   * @param owner Only streams of this owner, `issuer:subject`; for admins, who see the streams of all owners.
   * @param forChange Whether the stream of another owner needs `owner`, unless `ref` is its complete uid.
   * @param forRelease Whether to return a stream that no control server reports, so that it can be released.
   * @throws SCI_STREAM_NOT_FOUND, SCI_STREAM_AMBIGUOUS, SCI_USAGE (`forChange`); the reason of `signal`
   */
  async find(
    ref: string,
    { servers = [], ended = true, forRelease = false, forChange = false, owner, signal }: SearchOptions = {},
  ): Promise<StreamHandle> {
    return await findStream(ref, this.#survey(servers, signal), { ended, forRelease, forChange, owner });
  }

  /**
   * Releases one side of a stream at each of these control servers, and at no other.
   * @throws The first error, after all servers have answered; SCI_STREAM_NOT_FOUND for an unknown stream.
   */
  async release(uid: string, servers: readonly ServerRef[]): Promise<void> {
    parseUid(uid);
    // Resolve every name before the first call, so that a wrong name leaves no unawaited calls behind.
    const clients = servers.map((ref) => this.#clients.of(ref));
    const failed = (await Promise.allSettled(clients.map((client) => client.release(uid)))).find(
      (outcome) => outcome.status === 'rejected',
    );
    if (failed) throw failed.reason;
  }

  /**
   * The gateways of control servers. A server that does not answer is part of the result.
   * @param servers Default: the configured facilities.
   * @throws SCI_USAGE if there are none; the reason of `signal`
   */
  async gateways({ servers = [], signal }: Pick<SearchOptions, 'servers' | 'signal'> = {}): Promise<GatewayList> {
    return await listGateways(this.#clients.some(servers.length > 0 ? servers : Object.keys(this.#facilities)), signal);
  }

  /**
   * Each new event of all streams of this user, from now on, at the configured facilities. It connects again after a lost
   * connection and repeats no event. It ends only by `signal`, or when no control server is left.
   * @param servers Additional control servers.
   * @param owner Only streams of this owner, `issuer:subject`; for admins, who see the streams of all owners.
   * @throws SCI_USAGE without a control server; the first error that lasts, if no control server is left
   */
  async *followEvents({
    servers = [],
    owner,
    ...options
  }: Pick<SearchOptions, 'servers' | 'owner'> & FollowOptions = {}): AsyncGenerator<FollowedStreamEvent> {
    const clients = this.#clients.some([...Object.keys(this.#facilities), ...servers]);
    const sources = clients.map((client) => ({ client, uid: '', after: undefined, until: Infinity }));
    for await (const event of followSources(sources, options))
      if (owner === undefined || event.owner === owner) yield event;
  }

  /**
   * Stops or resumes placing new streams on a gateway. Its streams keep running. Idempotent.
   * @param reason Why, for other users; at most 200 characters. Empty: the reason of an earlier call remains.
   * @throws SCI_FORBIDDEN unless the caller is an admin; SCI_NAME_INVALID; SCI_USAGE for a longer reason
   */
  async drain(
    server: ServerRef,
    name: string,
    drained: boolean,
    signal?: AbortSignal,
    reason = '',
  ): Promise<GatewayState> {
    return gatewayState(await this.#clients.of(server).drain(name, drained, reason, { signal }));
  }

  /**
   * Drains a gateway and moves its movable streams to other gateways of the same control server. May be repeated.
   * @param graceMs Maximum time that open connections may stay on the gateway, ms.
   * @returns One result for each stream of the gateway, as soon as it is known.
   * @throws as {@link drain}
   */
  async *move(server: ServerRef, name: string, graceMs: number, signal?: AbortSignal): AsyncGenerator<StreamMove> {
    const moves = this.#clients.of(server).move(name, graceMs, signal);
    for await (const one of moves) yield streamMove(one);
  }

  /** The identity of this user at a control server. */
  async whoAmI(server: ServerRef, signal?: AbortSignal): Promise<Whoami> {
    const client = this.#clients.of(server);
    const { subject, issuer, admin, groups, expiresAt } = await client.whoAmI({ signal });
    const { facility, address } = client.endpoint;
    const who = { subject, issuer, admin };
    return {
      facility,
      s2cs: formatAddress(address),
      ...who,
      groups,
      expiresAt,
    };
  }

  /** Closes all connections to control servers. Streams keep running. Idempotent. */
  close(): void {
    this.#clients.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  #side(role: Side['role'], ref: ServerRef, tls: StreamTls | undefined): Side {
    const client = this.#clients.of(ref);
    if (tls && exposesToken(client.endpoint)) {
      this.#log.warn({ s2cs: formatAddress(client.endpoint.address) }, 'stream keys are sent in plain text');
    }
    return { role, client, tls };
  }

  #survey(servers: readonly ServerRef[], signal: AbortSignal | undefined) {
    const refs = [...Object.keys(this.#facilities), ...servers];
    return {
      journal: this.#journal,
      endpoints: refs.map((ref) => this.#clients.endpoint(ref)),
      client: (endpoint: Endpoint) => this.#clients.at(endpoint),
      recall: (endpoint: Endpoint) => overridden(endpoint, this.#options.override),
      signal,
    };
  }
}

/** How the listeners of an inbound side answer a probe; undefined if they do not, or if the control server does not tell. */
async function probeAnswer(uid: string, from: ControlClient, signal?: AbortSignal): Promise<ProbeAnswer | undefined> {
  try {
    return parseProbeAnswer((await from.get(uid, { signal })).probe);
  } catch {
    signal?.throwIfAborted();
    return undefined;
  }
}
