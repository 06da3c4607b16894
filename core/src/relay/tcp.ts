import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { Attempts } from './attempts.js';
import { Flow } from './flow.js';
import type { Keepalive } from './keepalive.js';
import { causeOf, countFailure, countReached, newCounters, sameTarget, type Cause, type Listener } from './listener.js';
import type { RelayConfig, RelayListener, RelayTarget } from './protocol.js';
import type { TlsClient, TlsServer } from './secure.js';
import { adopt, adoptStream, reset, type Leg } from './sockets.js';
import type { Sources } from './sources.js';

const BACKLOG = 511;
const NOTHING = Buffer.alloc(0);

/** Times of TCP connections, ms. */
export type TcpTimes = Pick<RelayConfig, 'holdMs' | 'connectTimeoutMs' | 'retryMs'>;

/** The encrypted leg of the connections, if any. */
export interface TcpSecurity {
  readonly listeners?: TlsServer;
  readonly targets?: TlsClient;
}

/** What all listeners of a worker share. */
export interface WorkerParts {
  readonly keepalive: Keepalive;
  /** Returns true if the worker must not accept another connection. */
  readonly isFull: () => boolean;
}

/** Accepts TCP clients on one address and connects each of them to the current target. */
export class TcpListener implements Listener {
  readonly counters = newCounters();
  /** Clients that are not connected to a target yet. */
  readonly waiting = new Set<TcpConnection>();
  readonly times: TcpTimes;
  readonly security: TcpSecurity;
  readonly #address: RelayListener;
  #target: RelayTarget | undefined;

  /** @param sources Networks of the accepted clients. Absent: all. */
  constructor(
    address: RelayListener,
    times: TcpTimes,
    readonly worker: WorkerParts,
    security: TcpSecurity = {},
    private readonly sources?: Sources,
  ) {
    this.#address = address;
    this.times = times;
    this.security = security;
  }

  /** Target of new connections. Undefined holds them. */
  get target(): RelayTarget | undefined {
    return this.#target;
  }

  listen(): Promise<void> {
    // A client that ends during the handshake is closed. After it, TlsServer sets allowHalfOpen.
    const allowHalfOpen = this.security.listeners === undefined;
    const server: Server = createServer({ allowHalfOpen, pauseOnConnect: true }, (socket) => this.#accepted(socket));
    const { fd, host, port } = this.#address;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(fd === undefined ? { host, port, backlog: BACKLOG, exclusive: true } : { fd }, () => {
        server.off('error', reject);
        // A failed accept (EMFILE, ECONNABORTED) affects one client, which libuv has already closed.
        server.on('error', (error) =>
          countFailure(this.counters, causeOf(error) === 'limitReached' ? 'limitReached' : undefined),
        );
        resolve();
      });
    });
  }

  retarget(target: RelayTarget | undefined): void {
    if (sameTarget(target, this.#target)) return;
    this.#target = target;
    this.counters.unreachableNow = 0;
    for (const connection of this.waiting) connection.retarget();
  }

  #accepted(wire: Socket): void {
    const { counters, security } = this;
    if (this.sources?.allow(wire.remoteAddress) === false) {
      counters.refused += 1;
      wire.on('error', () => undefined).resetAndDestroy();
      return;
    }
    if (this.worker.isFull()) {
      countFailure(counters, 'limitReached');
      wire.on('error', () => undefined).resetAndDestroy();
      return;
    }
    counters.open += 1;
    const start = (accept: (up: Flow) => Leg): void => {
      counters.connections += 1;
      new TcpConnection(accept, this).start();
    };
    if (security.listeners === undefined) {
      start((up) => adopt(wire, up));
      return;
    }
    wire.setNoDelay(true);
    security.listeners.secure(
      wire,
      (socket) => start((up) => adoptStream({ socket, wire }, up)),
      (wrong) => {
        counters.open -= 1;
        if (wrong) countFailure(counters, 'handshakeFailed');
      },
    );
  }
}

/**
 * One client and its connection to the target. States: waiting → established → closed. While it waits, it attempts to
 * connect immediately and every `retryMs`, for at most `holdMs`. An error on one leg resets the other leg, so that no
 * peer takes a broken stream for a complete one. A connection counts at most one error.
 */
class TcpConnection {
  readonly #listener: TcpListener;
  readonly #client: Leg;
  readonly #up: Flow;
  /** The established connection to the target. */
  #target: Leg | undefined;
  /** Attempts in progress. Undefined: none. */
  #attempts: Attempts | undefined;
  #attemptedAt = 0;
  /** Why the latest attempt failed. Undefined before an attempt has failed, and after a change of the target. */
  #obstacle: Cause | undefined;
  /** True after the first attempt failed. A client that then closes without sending data is dropped. */
  #held = false;
  /** True after a retry followed a failed attempt. A client that leaves earlier, such as a port scanner, proves nothing. */
  #waited = false;
  #over = false;
  #retry: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;

  /** @param accept Creates the leg of the client, which reads through the given flow. */
  constructor(accept: (up: Flow) => Leg, listener: TcpListener) {
    this.#listener = listener;
    this.#up = new Flow((bytes) => (listener.counters.bytesIn += bytes));
    this.#client = accept(this.#up);
  }

  /** Makes the first attempt. Call it once. */
  start(): void {
    const { counters, times, waiting } = this.#listener;
    const { socket, wire } = this.#client;
    waiting.add(this);
    wire.setNoDelay(true);
    this.#listener.worker.keepalive.watch(wire);
    socket.on('error', () => this.#fail(this.#reasonToLeave ?? 'resetByConsumer'));
    socket.once('end', () => this.#leaveIfGone());
    socket.once('close', () => {
      counters.open -= 1;
      this.#stopWaiting();
      if (!socket.readableEnded) this.#fail(this.#reasonToLeave ?? 'resetByConsumer');
    });
    this.#retry = setInterval(() => this.#tick(), times.retryMs);
    this.#deadline = setTimeout(() => this.#fail(this.#obstacle ?? 'unreachable'), times.holdMs);
    this.#held = this.#listener.target === undefined;
    this.#attempt();
  }

  /** Cancels the attempts in progress and connects to the new target of the listener. Only while waiting. */
  retarget(): void {
    this.#giveUpAttempt();
    this.#obstacle = undefined;
    this.#attemptIfPresent();
  }

  #tick(): void {
    // A slow attempt does not mean that the target is absent, so it does not make the client a held one.
    if (this.#attempts) {
      if (performance.now() - this.#attemptedAt < this.#listener.times.connectTimeoutMs) return;
      this.#obstacle = this.#attempts.obstacle;
      if (this.#obstacle === 'handshakeFailed') this.#listener.security.targets?.noteSilence();
    }
    this.#giveUpAttempt();
    this.#held = true;
    this.#waited ||= this.#obstacle !== undefined;
    if (!this.#leaveIfGone()) this.#attemptIfPresent();
  }

  /**
   * Attempts to connect unless the client has closed. `setImmediate` first processes a FIN or RST that has arrived. The
   * empty write detects a reset of a client that is not read because its hold buffer is full.
   */
  #attemptIfPresent(): void {
    setImmediate(() => {
      if (this.#over || this.#client.socket.destroyed) return;
      this.#client.socket.write(NOTHING, (error) => {
        if (!error) this.#attempt();
      });
    });
  }

  /** Attempts to connect to the addresses of the target, unless attempts are in progress. */
  #attempt(): void {
    const { counters, target, security } = this.#listener;
    if (target === undefined || this.#attempts !== undefined || this.#over || this.#client.socket.destroyed) return;
    this.#attemptedAt = performance.now();
    const newFlow = (): Flow => new Flow((bytes) => (counters.bytesOut += bytes));
    this.#attempts = new Attempts(target, security.targets, newFlow, {
      connected: (leg, down) => this.#establish(leg, down),
      failed: (obstacle) => {
        this.#attempts = undefined;
        this.#held = true;
        this.#obstacle = obstacle;
        this.#leaveIfGone();
      },
      broken: () => this.#fail('resetByProducer'),
    });
    this.#attempts.start();
  }

  #establish(target: Leg, down: Flow): void {
    this.#target = target;
    this.#attempts = undefined;
    this.#listener.counters.established += 1;
    countReached(this.#listener.counters);
    this.#stopWaiting();
    this.#listener.worker.keepalive.watch(target.wire);
    down.to(this.#client.socket);
    this.#up.to(target.socket);
  }

  #giveUpAttempt(): void {
    this.#attempts?.cancel();
    this.#attempts = undefined;
  }

  /** Why a client that leaves now has no connection to the target; undefined if it has one, or did not wait. */
  get #reasonToLeave(): Cause | undefined {
    return this.#waited && this.#target === undefined ? this.#obstacle : undefined;
  }

  /** Drops a held client that closed without sending data, because it cannot use a connection any longer. */
  #leaveIfGone(): boolean {
    if (this.#target !== undefined || !this.#held || !this.#up.endedEmpty) return false;
    if (!this.#over && this.#reasonToLeave) countFailure(this.#listener.counters, this.#reasonToLeave);
    this.#over = true;
    this.#stopWaiting();
    this.#giveUpAttempt();
    this.#client.socket.destroy();
    return true;
  }

  /** Fails the connection: a leg broke, or the hold time expired. */
  #fail(cause: Cause): void {
    if (this.#over) return;
    this.#over = true;
    countFailure(this.#listener.counters, cause);
    this.#stopWaiting();
    this.#giveUpAttempt();
    reset(this.#client);
    if (this.#target !== undefined) reset(this.#target);
  }

  #stopWaiting(): void {
    this.#listener.waiting.delete(this);
    clearInterval(this.#retry);
    clearTimeout(this.#deadline);
  }
}
