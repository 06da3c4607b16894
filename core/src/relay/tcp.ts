import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { Flow } from './flow.js';
import { newCounters, sameAddress, type Listener } from './listener.js';
import type { RelayAddress, RelayConfig, RelayListener } from './protocol.js';
import type { TlsClient, TlsServer } from './secure.js';
import { adopt, adoptStream, isSelfConnected, reset, type Leg } from './sockets.js';
import type { Sources } from './sources.js';

const KEEPALIVE_MS = 30_000;
const BACKLOG = 511;
const NOTHING = Buffer.alloc(0);

/** The times of {@link RelayConfig} that TCP needs, in ms. */
export type TcpTimes = Pick<RelayConfig, 'holdMs' | 'connectTimeoutMs' | 'retryMs'>;

/** The encrypted leg of the worker's connections, if any. */
export interface TcpSecurity {
  readonly listeners?: TlsServer;
  readonly targets?: TlsClient;
}

/** Accepts on one address and gives every client its own connection to the current target. */
export class TcpListener implements Listener {
  readonly counters = newCounters();
  /** Clients that have no target yet. */
  readonly waiting = new Set<TcpConnection>();
  readonly times: TcpTimes;
  readonly security: TcpSecurity;
  readonly #address: RelayListener;
  #target: RelayAddress | undefined;

  /** @param sources who may connect; absent: everybody */
  constructor(
    address: RelayListener,
    times: TcpTimes,
    security: TcpSecurity = {},
    private readonly sources?: Sources,
  ) {
    this.#address = address;
    this.times = times;
    this.security = security;
  }

  /** Where new connections go; undefined holds them. */
  get target(): RelayAddress | undefined {
    return this.#target;
  }

  listen(): Promise<void> {
    // Who ends in the middle of a handshake is to be closed; after it, TlsServer keeps the other direction open.
    const allowHalfOpen = this.security.listeners === undefined;
    const server: Server = createServer({ allowHalfOpen, pauseOnConnect: true }, (socket) => this.#accepted(socket));
    const { fd, host, port } = this.#address;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(fd === undefined ? { host, port, backlog: BACKLOG, exclusive: true } : { fd }, () => {
        server.off('error', reject);
        // A failed accept (EMFILE, ECONNABORTED) concerns one client, whom libuv has already turned away.
        server.on('error', () => (this.counters.errors += 1));
        resolve();
      });
    });
  }

  retarget(target: RelayAddress | undefined): void {
    if (sameAddress(target, this.#target)) return;
    this.#target = target;
    for (const connection of this.waiting) connection.retarget();
  }

  #accepted(wire: Socket): void {
    const { counters, security } = this;
    if (this.sources?.allow(wire.remoteAddress) === false) {
      counters.refused += 1;
      wire.on('error', () => undefined).resetAndDestroy();
      return;
    }
    counters.connections += 1;
    counters.open += 1;
    const start = (accept: (up: Flow) => Leg): void => new TcpConnection(accept, this).start();
    if (security.listeners === undefined) {
      start((up) => adopt(wire, up));
      return;
    }
    wire.setNoDelay(true);
    wire.setKeepAlive(true, KEEPALIVE_MS);
    security.listeners.secure(
      wire,
      (socket) => start((up) => adoptStream({ socket, wire }, up)),
      (wrong) => {
        counters.open -= 1;
        if (wrong) counters.errors += 1;
      },
    );
  }
}

/**
 * One client and its way to the target. Life: waiting (an attempt now and every `retryMs`, at most `holdMs`) →
 * established → closed. Each ends at most once with an error, and an error on one leg resets the other, so that no
 * peer takes a broken stream for a complete one.
 */
class TcpConnection {
  readonly #listener: TcpListener;
  readonly #client: Leg;
  readonly #up: Flow;
  #target: Leg | undefined;
  #attemptedAt = 0;
  #established = false;
  /** The target was not there at once. From now on a client that leaves without a word is forgotten. */
  #held = false;
  #over = false;
  #retry: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;

  /** @param accept makes the client's leg, which reads through the flow it is given */
  constructor(accept: (up: Flow) => Leg, listener: TcpListener) {
    this.#listener = listener;
    this.#up = new Flow((bytes) => (listener.counters.bytesIn += bytes));
    this.#client = accept(this.#up);
  }

  /** Makes the first attempt; call once. */
  start(): void {
    const { counters, times, waiting } = this.#listener;
    const { socket, wire } = this.#client;
    waiting.add(this);
    wire.setNoDelay(true);
    wire.setKeepAlive(true, KEEPALIVE_MS);
    socket.on('error', () => this.#fail());
    socket.once('end', () => this.#leaveIfGone());
    socket.once('close', () => {
      counters.open -= 1;
      this.#stopWaiting();
      if (!socket.readableEnded) this.#fail();
    });
    this.#retry = setInterval(() => this.#tick(), times.retryMs);
    this.#deadline = setTimeout(() => this.#fail(), times.holdMs);
    this.#held = this.#listener.target === undefined;
    this.#attempt();
  }

  /** The listener has another target: an attempt under way to the old one is given up. Only while waiting. */
  retarget(): void {
    this.#giveUpAttempt();
    this.#attemptIfPresent();
  }

  #tick(): void {
    this.#held = true;
    if (this.#leaveIfGone()) return;
    if (this.#target !== undefined) {
      if (performance.now() - this.#attemptedAt < this.#listener.times.connectTimeoutMs) return;
      this.#giveUpAttempt();
    }
    this.#attemptIfPresent();
  }

  /**
   * Attempts unless the client has left. `setImmediate` lets a FIN or RST that has already arrived be read first; the
   * empty write finds a reset on a client that is not read because its hold buffer is full.
   */
  #attemptIfPresent(): void {
    setImmediate(() => {
      if (this.#over || this.#client.socket.destroyed) return;
      this.#client.socket.write(NOTHING, (error) => {
        if (!error) this.#attempt();
      });
    });
  }

  #attempt(): void {
    const { counters, target, security } = this.#listener;
    if (target === undefined || this.#target !== undefined || this.#over || this.#client.socket.destroyed) return;
    const down = new Flow((bytes) => (counters.bytesOut += bytes));
    const wire = connect({
      host: target.host,
      port: target.port,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEPALIVE_MS,
      ...(security.targets ? {} : { onread: down.onread }),
    });
    const leg = { wire, socket: security.targets?.secure(wire) ?? wire };
    this.#target = leg;
    this.#attemptedAt = performance.now();
    if (security.targets) adoptStream(leg, down);
    else down.from(leg);
    leg.socket.on('error', () => this.#targetFailed(leg));
    leg.socket.once('close', () => leg.socket.readableEnded || this.#targetFailed(leg));
    leg.socket.once(security.targets ? 'secureConnect' : 'connect', () => {
      if (isSelfConnected(leg)) {
        wire.destroy();
        this.#targetFailed(leg);
      } else {
        this.#establish(leg, down);
      }
    });
  }

  #establish(target: Leg, down: Flow): void {
    this.#established = true;
    this.#listener.counters.established += 1;
    this.#stopWaiting();
    down.to(this.#client.socket);
    this.#up.to(target.socket);
  }

  #targetFailed(leg: Leg): void {
    if (leg !== this.#target) return;
    if (this.#established) {
      this.#fail();
      return;
    }
    this.#target = undefined;
    this.#held = true;
    this.#leaveIfGone();
  }

  #giveUpAttempt(): void {
    const attempt = this.#target;
    this.#target = undefined;
    attempt?.wire.destroy();
  }

  /** Forgets a held client that closed without sending anything: nobody is left whom a connection could serve. */
  #leaveIfGone(): boolean {
    if (this.#established || !this.#held || !this.#up.endedEmpty) return false;
    this.#over = true;
    this.#stopWaiting();
    this.#giveUpAttempt();
    this.#client.socket.destroy();
    return true;
  }

  /** A leg broke, or the client was held in vain. */
  #fail(): void {
    if (this.#over) return;
    this.#over = true;
    this.#listener.counters.errors += 1;
    this.#stopWaiting();
    reset(this.#client);
    if (this.#target !== undefined) reset(this.#target);
  }

  #stopWaiting(): void {
    this.#listener.waiting.delete(this);
    clearInterval(this.#retry);
    clearTimeout(this.#deadline);
  }
}
