import type { S2ucConfig } from '../config/schemas.js';
import { formatAddress, type Address } from '../contracts/address.js';
import { SciStreamError } from '../contracts/errors.js';
import { silentLogger, type Logger } from '../contracts/logger.js';
import { parseUid, type StreamTls } from '../contracts/stream.js';
import { printableLine } from '../wire/errors.js';
import { ControlClient } from './control-client.js';
import { credentialsFor } from './credentials.js';
import { endpointKey, exposesToken, resolveEndpoint, type Endpoint, type TrustSettings } from './endpoint.js';
import { gatewayState, streamMove, type GatewayState, type StreamMove } from './gateways.js';
import { clientStateDir, Journal } from './journal.js';
import {
  defined,
  fromTicket,
  mustAgree,
  needsProducer,
  peerEndpoint,
  toPlan,
  type InboundOptions,
  type OutboundOptions,
  type ServerRef,
  type InboundSide,
  type UpOptions,
} from './options.js';
import type { Side } from './setup.js';
import type { StreamHandle } from './stream-handle.js';
import { StreamMaker, type ProgressEvent } from './stream-maker.js';
import { findStream, listStreams, type StreamList } from './survey.js';
import { parseTicket, ticketOf } from './ticket.js';

/** What a program may give its {@link S2UC}. */
export interface S2ucOptions {
  readonly log?: Logger;
  /** Called synchronously; must not throw. */
  readonly onProgress?: (event: ProgressEvent) => void;
  /** Where streams are remembered; default {@link clientStateDir}. */
  readonly stateDir?: string;
  /** Trust for control servers given as host:port. */
  readonly trust?: TrustSettings;
}

/** Whom a control server takes a user for. */
export interface Whoami {
  readonly facility: string;
  /** Control server, host:port. */
  readonly s2cs: string;
  readonly subject: string;
  /** Id of the authenticator, or the issuer of the token. */
  readonly issuer: string;
  readonly admin: boolean;
  readonly groups: readonly string[];
  /** ISO 8601 UTC; empty where the token does not end, or does not say when. */
  readonly expiresAt: string;
}

/** Where and for what to look. */
export interface SearchOptions {
  readonly servers?: readonly ServerRef[] | undefined;
  readonly ended?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The user client: makes streams across two control servers (protocol.md §3) and finds those made earlier. One per
 * program is enough; calls may overlap. Close it at the end.
 */
export class S2UC implements AsyncDisposable {
  readonly #facilities: S2ucConfig['facilities'];
  readonly #options: S2ucOptions;
  readonly #log: Logger;
  readonly #journal: Journal;
  readonly #maker: StreamMaker;
  readonly #clients = new Map<string, ControlClient>();

  constructor({ facilities = {} }: Partial<Pick<S2ucConfig, 'facilities'>> = {}, options: S2ucOptions = {}) {
    this.#facilities = facilities;
    this.#options = options;
    this.#log = options.log ?? silentLogger;
    this.#journal = new Journal(options.stateDir ?? clientStateDir(), this.#log);
    this.#maker = new StreamMaker({ journal: this.#journal, log: this.#log, onProgress: options.onProgress });
  }

  /**
   * Makes a stream and returns when it is ready. On any error, and when `signal` aborts, both sides are released first.
   * @throws The first error with its side named; SCI_USAGE when both sides have the same control server, where one uid
   * cannot exist twice; the reason of `signal`.
   */
  async up(options: UpOptions, signal?: AbortSignal): Promise<StreamHandle> {
    const started = performance.now();
    const plan = toPlan(options, options.producer);
    needsProducer(plan);
    const credentials = credentialsFor(plan);
    const from = this.#side('inbound', options.from, credentials?.from);
    const to = this.#side('outbound', options.to, credentials?.to);
    mustDiffer(from.client.endpoint.address, to.client.endpoint.address);
    const parts = {
      from: from.client,
      to: to.client,
      verify: options.verify !== false,
      fresh: options.uid === undefined,
    };
    return (await this.#maker.make([from, to], plan, parts, started, signal)).handle;
  }

  /**
   * Makes the inbound side alone.
   * @returns Also the ticket for whoever makes the outbound side: a secret where the stream is encrypted.
   * @throws as {@link up}
   */
  async inbound(
    options: InboundOptions,
    signal?: AbortSignal,
  ): Promise<{ readonly handle: StreamHandle; readonly ticket: string }> {
    const started = performance.now();
    const plan = toPlan(options, options.producer);
    needsProducer(plan);
    const credentials = credentialsFor(plan);
    const from = this.#side('inbound', options.from, credentials?.from);
    const parts = { from: from.client, verify: options.verify !== false, fresh: options.uid === undefined };
    const { handle, listeners } = await this.#maker.make([from], plan, parts, started, signal);
    try {
      return { handle, ticket: ticketOf(plan, from.client, listeners, handle.initial.expiresAt, credentials?.to) };
    } catch (error) {
      await handle.down();
      throw error;
    }
  }

  /**
   * Makes the outbound side to an inbound side that exists. The inbound control server is asked for a probe; where it
   * refuses, because the inbound side is somebody else's, that hop counts as not checked.
   * @param inbound A ticket as pasted, or just its listeners.
   * @throws SCI_TICKET_INVALID, SCI_USAGE when it would encrypt and the inbound side does not, and as {@link up}
   */
  async outbound(inbound: string | InboundSide, options: OutboundOptions, signal?: AbortSignal): Promise<StreamHandle> {
    const started = performance.now();
    const known: InboundSide = typeof inbound === 'string' ? parseTicket(inbound) : inbound;
    const given = options.uid ?? known.uid;
    const plan = toPlan({ ...fromTicket(known), ...defined(options), uid: given });
    mustAgree(plan, known);
    const to = this.#side('outbound', options.to, known.tls);
    if (known.s2cs) mustDiffer(known.s2cs, to.client.endpoint.address);
    const peer = known.s2cs && this.#client(peerEndpoint(known.s2cs, known.fingerprint, this.#options.trust));
    const parts = { to: to.client, peer, verify: options.verify !== false, fresh: given === undefined };
    return (await this.#maker.make([to], plan, parts, started, signal, known.listeners)).handle;
  }

  /**
   * All streams this user has, as far as the configured facilities and the journal know.
   * @param servers More control servers to ask.
   * @param ended Also the streams that are over.
   */
  async list({ servers = [], ended = false, signal }: SearchOptions = {}): Promise<StreamList> {
    return await listStreams(this.#survey(servers, signal), ended);
  }

  /**
   * The stream a user means.
   * @param ref uid, prefix of a uid of at least 6 characters, or name.
   * @param servers More control servers to ask.
   * @param ended Whether a name may also mean a stream that has failed; default true.
   * @throws SCI_STREAM_NOT_FOUND, SCI_STREAM_AMBIGUOUS; the reason of `signal`
   */
  async find(ref: string, { servers = [], ended = true, signal }: SearchOptions = {}): Promise<StreamHandle> {
    return await findStream(ref, this.#survey(servers, signal), ended);
  }

  /**
   * Ends one side of a stream at each of these control servers and nowhere else.
   * @throws The first error, after all were asked; SCI_STREAM_NOT_FOUND where there is no such stream.
   */
  async release(uid: string, servers: readonly ServerRef[]): Promise<void> {
    parseUid(uid);
    // All of them first: a name that is wrong must not leave calls behind that nobody waits for.
    const clients = servers.map((ref) => this.#client(this.#endpoint(ref)));
    const failed = (await Promise.allSettled(clients.map((client) => client.release(uid)))).find(
      (outcome) => outcome.status === 'rejected',
    );
    if (failed) throw failed.reason;
  }

  /** The gateways of a control server. */
  async gateways(server: ServerRef, signal?: AbortSignal): Promise<readonly GatewayState[]> {
    const { gateways } = await this.#client(this.#endpoint(server)).describe({ signal });
    return gateways.map(gatewayState);
  }

  /**
   * Lets a gateway take no new streams, or take them again; those it has live on. May be repeated.
   * @throws SCI_FORBIDDEN unless the control server knows the caller as an admin; SCI_NAME_INVALID
   */
  async drain(server: ServerRef, name: string, drained: boolean, signal?: AbortSignal): Promise<GatewayState> {
    return gatewayState(await this.#client(this.#endpoint(server)).drain(name, drained, { signal }));
  }

  /**
   * Drains a gateway and moves its movable streams to others of the same control server. May be repeated.
   * @param graceMs How long what is open on it may stay there, ms.
   * @returns Of each of its streams what became of it, as soon as that is known.
   * @throws as {@link drain}
   */
  async *move(server: ServerRef, name: string, graceMs: number, signal?: AbortSignal): AsyncGenerator<StreamMove> {
    const moves = this.#client(this.#endpoint(server)).move(name, graceMs, signal);
    for await (const one of moves) yield streamMove(one);
  }

  /** Whom a control server takes this user for. */
  async whoAmI(server: ServerRef, signal?: AbortSignal): Promise<Whoami> {
    const client = this.#client(this.#endpoint(server));
    const { subject, issuer, admin, groups, expiresAt } = await client.whoAmI({ signal });
    const { facility, address } = client.endpoint;
    const who = { subject: printableLine(subject), issuer: printableLine(issuer), admin };
    return {
      facility,
      s2cs: formatAddress(address),
      ...who,
      groups: groups.map(printableLine),
      expiresAt: printableLine(expiresAt),
    };
  }

  /** Ends all connections to control servers; streams stay. Idempotent. */
  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  #side(role: Side['role'], ref: ServerRef, tls: StreamTls | undefined): Side {
    const client = this.#client(this.#endpoint(ref));
    if (tls && exposesToken(client.endpoint)) {
      this.#log.warn({ s2cs: formatAddress(client.endpoint.address) }, 'keys of the stream sent in plain text');
    }
    return { role, client, tls };
  }

  #endpoint(ref: ServerRef): Endpoint {
    return typeof ref === 'string' ? resolveEndpoint(ref, this.#facilities, this.#options.trust) : ref;
  }

  #client(endpoint: Endpoint): ControlClient {
    const key = endpointKey(endpoint);
    const client = this.#clients.get(key) ?? new ControlClient(endpoint, this.#log);
    this.#clients.set(key, client);
    return client;
  }

  #survey(servers: readonly ServerRef[], signal: AbortSignal | undefined) {
    const refs = [...Object.keys(this.#facilities), ...servers];
    return {
      journal: this.#journal,
      endpoints: refs.map((ref) => this.#endpoint(ref)),
      client: (endpoint: Endpoint) => this.#client(endpoint),
      signal,
    };
  }
}

/** @throws SCI_USAGE */
function mustDiffer(from: Address, to: Address): void {
  const where = formatAddress(from);
  if (where !== formatAddress(to)) return;
  throw new SciStreamError('SCI_USAGE', `Both sides of the stream use the same control server, ${where}.`, {
    suggestions: ['Run one control server per side: a control server can use each uid only once.'],
  });
}
