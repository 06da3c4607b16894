import type { Server, Socket } from 'node:net';
import { LRUCache } from 'lru-cache';
import type { Logger } from '../contracts/logger.js';
import { sourceOf } from '../contracts/network.js';
import { BURST_S, RateLimiter } from './rate-limiter.js';

/** Limits of the open connections of a server. Read each time: they may change on reload. */
export interface ConnectionLimits {
  /** Open connections. Half of them are reserved for callers with an accepted call. */
  readonly clients: number;
  /** Open connections of one source, see `sourceOf`. */
  readonly clientsPerAddress: number;
  /** Maximum age of a connection without an accepted call, ms. */
  readonly strangerTimeoutMs: number;
}

/** Time for which a source counts as known after an accepted call, ms. */
const KNOWN_MS = 3_600_000;
const MAX_KNOWN = 10_000;
/** A known source may open this many times as many connections per second: it may be a login node. */
const KNOWN_FACTOR = 4;
/** More than the strangers of any source. */
const MAX_RANK = 1_000_000_000;
/** Minimum time between two log messages about a full server, ms. */
const TELL_MS = 60_000;

interface Source {
  readonly from: string;
  /** Connections without an accepted call, oldest first. */
  readonly strangers: Set<Connection>;
  proven: number;
}

interface Connection {
  readonly end: string;
  readonly socket: Socket;
  readonly source: Source;
  readonly timer: NodeJS.Timeout;
  open: boolean;
}

/**
 * The open connections of a server. A stranger is a connection without an accepted call. Strangers get at most half of all
 * connections. A new connection beyond that closes the oldest stranger of the source with the most strangers. So a caller
 * from another source gets in during a flood, and connections with an accepted call stay open.
 */
export class Connections {
  readonly #sources = new Map<string, Source>();
  /** Strangers by {@link endOf}. */
  readonly #strangers = new Map<string, Connection>();
  /** Sources with a recently accepted call. */
  readonly #known = new LRUCache<string, true>({ max: MAX_KNOWN, ttl: KNOWN_MS });
  readonly #arrivals: RateLimiter;
  readonly #knownArrivals: RateLimiter;
  #open = 0;
  #toldAt = -Infinity;

  constructor(
    private readonly limits: ConnectionLimits,
    private readonly log: Logger,
  ) {
    const tell = (from: string): void => this.log.warn({ from }, 'too many new connections, closing some');
    const perSecond = (factor: number) => () => (factor * limits.clientsPerAddress) / BURST_S;
    this.#arrivals = new RateLimiter(perSecond(1), 'connections of this address', tell);
    this.#knownArrivals = new RateLimiter(perSecond(KNOWN_FACTOR), 'connections of this address', tell);
  }

  /** Accepts a new connection, or closes it. Call it before the TLS handshake. @returns Whether the connection is open */
  accept(socket: Socket): boolean {
    const from = sourceOf(socket.remoteAddress ?? '');
    if (from !== '' && this.#arrivalsOf(from).admits(from) && this.#hasRoom(from)) {
      this.#add(socket, from);
      return true;
    }
    socket.on('error', () => undefined).destroy();
    return false;
  }

  /** Notes that a call on this connection was accepted. @returns Whether it is the first one */
  proven(end: string): boolean {
    const connection = this.#strangers.get(end);
    if (!connection) return false;
    const { source } = connection;
    this.#forget(connection);
    source.proven += 1;
    this.#arrivalsOf(source.from).giveBack(source.from);
    this.#known.set(source.from, true);
    return true;
  }

  /** Whether no call on this connection was accepted yet. */
  isStranger(end: string): boolean {
    return this.#strangers.has(end);
  }

  #arrivalsOf = (from: string): RateLimiter => (this.#known.has(from) ? this.#knownArrivals : this.#arrivals);

  /** Makes room for one more connection, if necessary and possible. */
  #hasRoom(from: string): boolean {
    const { clients, clientsPerAddress } = this.limits;
    const { strangers, proven } = this.#sources.get(from) ?? { strangers: new Set<Connection>(), proven: 0 };
    if (strangers.size + proven >= clientsPerAddress) return this.#closeOldest(strangers);
    const full = this.#strangers.size >= Math.ceil(clients / 2) || this.#open >= clients;
    if (!full) return true;
    const crowd = this.#largest();
    this.#tell(crowd?.from);
    return crowd !== undefined && this.#closeOldest(crowd.strangers);
  }

  /** The source with the most strangers; a known source only if there is no other. */
  #largest(): Source | undefined {
    const rank = ({ from, strangers }: Source): number => strangers.size - (this.#known.has(from) ? MAX_RANK : 0);
    let most: { readonly source: Source; readonly rank: number } | undefined;
    for (const source of this.#sources.values()) {
      if (source.strangers.size === 0) continue;
      const own = rank(source);
      if (!most || own > most.rank) most = { source, rank: own };
    }
    return most?.source;
  }

  #closeOldest(strangers: ReadonlySet<Connection>): boolean {
    for (const connection of strangers) {
      connection.socket.destroy();
      this.#close(connection);
      return true;
    }
    return false;
  }

  #add(socket: Socket, from: string): void {
    const source = this.#sources.get(from) ?? { from, strangers: new Set<Connection>(), proven: 0 };
    const timer = setTimeout(() => socket.destroy(), this.limits.strangerTimeoutMs).unref();
    const connection = { end: endOf(socket), socket, source, timer, open: true };
    this.#sources.set(from, source);
    source.strangers.add(connection);
    this.#strangers.set(connection.end, connection);
    this.#open += 1;
    socket.once('close', () => this.#close(connection));
  }

  /** Idempotent, because a connection that gives way is counted as closed immediately. */
  #close(connection: Connection): void {
    if (!connection.open) return;
    connection.open = false;
    this.#open -= 1;
    const { source } = connection;
    if (source.strangers.has(connection)) this.#forget(connection);
    else source.proven -= 1;
    if (source.strangers.size + source.proven === 0) this.#sources.delete(source.from);
  }

  #forget(connection: Connection): void {
    clearTimeout(connection.timer);
    connection.source.strangers.delete(connection);
    // The peer may have reused its port.
    if (this.#strangers.get(connection.end) === connection) this.#strangers.delete(connection.end);
  }

  #tell(from: string | undefined): void {
    if (performance.now() - this.#toldAt < TELL_MS) return;
    this.#toldAt = performance.now();
    this.log.warn({ from, open: this.#open }, 'too many connections, closing some without an accepted call');
  }
}

/** A key that identifies a connection of a server. */
export const endOf = ({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string =>
  `${remoteAddress} ${remotePort}`;

/**
 * Makes a server process only accepted connections. Its own listeners would create the TLS state of a connection first,
 * which costs more than to accept and close it.
 * @param accepted Called with each accepted connection before the server.
 */
export function onlyAccepted(server: Server, connections: Connections, accepted: (socket: Socket) => void): void {
  const listeners = server.listeners('connection');
  server.removeAllListeners('connection').on('connection', (socket: Socket) => {
    if (!connections.accept(socket)) return;
    accepted(socket);
    for (const listener of listeners) listener.call(server, socket);
  });
}
