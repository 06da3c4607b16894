import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { Flow } from './flow.js';
import { newCounters, sameAddress } from './listener.js';
import type { Listener } from './listener.js';
import type { RelayAddress, RelayConfig, RelayListener } from './protocol.js';
import { adopt, isSelfConnected, reset } from './sockets.js';

const KEEPALIVE_MS = 30_000;
const BACKLOG = 511;
const NOTHING = Buffer.alloc(0);

/** The times of {@link RelayConfig} that TCP needs, in ms. */
export type TcpTimes = Pick<RelayConfig, 'holdMs' | 'connectTimeoutMs' | 'retryMs'>;

/** Accepts on one address and gives every client its own connection to the current target. */
export class TcpListener implements Listener {
  readonly counters = newCounters();
  /** Clients that have no target yet. */
  readonly waiting = new Set<TcpConnection>();
  readonly times: TcpTimes;
  readonly #address: RelayListener;
  #target: RelayAddress | undefined;

  constructor(address: RelayListener, times: TcpTimes) {
    this.#address = address;
    this.times = times;
  }

  /** Where new connections go; undefined holds them. */
  get target(): RelayAddress | undefined {
    return this.#target;
  }

  listen(): Promise<void> {
    const server: Server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      new TcpConnection(socket, this).start();
    });
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
}

/**
 * One client and its way to the target. Life: waiting (an attempt now and every `retryMs`, at most `holdMs`) →
 * established → closed. Each ends at most once with an error, and an error on one leg resets the other, so that no
 * peer takes a broken stream for a complete one.
 */
class TcpConnection {
  readonly #listener: TcpListener;
  readonly #client: Socket;
  readonly #up: Flow;
  #target: Socket | undefined;
  #attemptedAt = 0;
  #established = false;
  /** The target was not there at once. From now on a client that leaves without a word is forgotten. */
  #held = false;
  #over = false;
  #retry: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;

  constructor(accepted: Socket, listener: TcpListener) {
    this.#listener = listener;
    this.#up = new Flow((bytes) => (listener.counters.bytesIn += bytes));
    this.#client = adopt(accepted, this.#up);
  }

  /** Counts the client and makes the first attempt; call once. */
  start(): void {
    const { counters, times, waiting } = this.#listener;
    counters.connections += 1;
    counters.open += 1;
    waiting.add(this);
    this.#client.setNoDelay(true);
    this.#client.setKeepAlive(true, KEEPALIVE_MS);
    this.#client.on('error', () => this.#fail());
    this.#client.once('end', () => this.#leaveIfGone());
    this.#client.once('close', () => {
      counters.open -= 1;
      this.#stopWaiting();
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
      if (this.#over || this.#client.destroyed) return;
      this.#client.write(NOTHING, (error) => {
        if (!error) this.#attempt();
      });
    });
  }

  #attempt(): void {
    const { counters, target } = this.#listener;
    if (target === undefined || this.#target !== undefined || this.#over || this.#client.destroyed) return;
    const down = new Flow((bytes) => (counters.bytesOut += bytes));
    const socket = connect({
      host: target.host,
      port: target.port,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEPALIVE_MS,
      onread: down.onread,
    });
    this.#target = socket;
    this.#attemptedAt = performance.now();
    down.from(socket);
    socket.on('error', () => this.#targetFailed(socket));
    socket.once('connect', () => {
      if (isSelfConnected(socket)) {
        socket.destroy();
        this.#targetFailed(socket);
      } else {
        this.#establish(socket, down);
      }
    });
  }

  #establish(target: Socket, down: Flow): void {
    this.#established = true;
    this.#listener.counters.established += 1;
    this.#stopWaiting();
    down.to(this.#client);
    this.#up.to(target);
  }

  #targetFailed(socket: Socket): void {
    if (socket !== this.#target) return;
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
    attempt?.destroy();
  }

  /** Forgets a held client that closed without sending anything: nobody is left whom a connection could serve. */
  #leaveIfGone(): boolean {
    if (this.#established || !this.#held || !this.#up.endedEmpty) return false;
    this.#over = true;
    this.#stopWaiting();
    this.#giveUpAttempt();
    this.#client.destroy();
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
