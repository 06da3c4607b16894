import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { formatAddress, type Address } from './address.js';
import { PayloadPool } from './payload-pool.js';
import { sendStream, type Outcome } from './send-stream.js';

/** Data and listeners of a producer. */
export interface ProducerOptions {
  /** One listener each; port 0 selects a free one. Every client of a listener gets its own stream. */
  readonly listen: readonly Address[];
  /** Payload of a frame, bytes, 1 to 2^30. Default 1 MiB. */
  readonly frameBytes?: number;
  /** Average frames per second of each connection; 0 (default) is unlimited. */
  readonly rate?: number;
  /**
   * Total number of frames if each listener has one client: listener k of n sends N/n frames to each client, the first
   * N mod n listeners one more. 0 (default) sends until stopped.
   */
  readonly count?: number;
  /** Seed of the payloads, 32 bits. Default 1. */
  readonly seed?: number;
  /** Sequence of the first frame on every connection. Default 0. */
  readonly firstSequence?: number;
  /** False omits the SHA-256 of the closing frames, for speed tests. Default true. */
  readonly sha256?: boolean;
  /** Stop after every listener has served one client completely and no client is left. Default false. */
  readonly once?: boolean;
  /** Time for clients to receive their closing frame after a stop, ms; then they are disconnected. Default 5000. */
  readonly graceMs?: number;
  /** Called once when all listeners accept, with their actual addresses in the order of `listen`. */
  readonly onListening?: (addresses: string[]) => void;
  /** Called with a sentence for each client that disconnected before its closing frame. */
  readonly onClientLost?: (sentence: string) => void;
}

/** Result of a producer. */
export interface ProducerSummary {
  /** Clients that received their stream including the closing frame. */
  readonly served: number;
  /** Clients that disconnected or were disconnected earlier. */
  readonly lost: number;
  /** Data frames handed to the kernel. */
  readonly frames: number;
  /** Payload bytes of these frames. */
  readonly bytes: number;
  /** From the arrival of the first client to the end of the last one, s. */
  readonly seconds: number;
  /** Payload rate over `seconds`, 10^9 bit/s. */
  readonly gbps: number;
}

/**
 * Listens and sends frames to every client until `signal` aborts or, with `once`, the first round is served. A stop
 * closes the listeners and ends every stream with its closing frame. If an address cannot be bound, throws the error of
 * the system and closes all listeners.
 */
export async function runProducer(options: ProducerOptions, signal?: AbortSignal): Promise<ProducerSummary> {
  const producer = new Producer(options, signal);
  try {
    await producer.listen();
    return await producer.serve();
  } finally {
    producer.close();
  }
}

class Producer {
  readonly #options: ProducerOptions;
  readonly #pool: PayloadPool;
  readonly #servers: readonly Server[];
  readonly #servedBy: number[];
  readonly #roundServed = new AbortController();
  readonly #stop: AbortSignal;
  readonly #clients = new Map<Socket, Promise<void>>();
  readonly #totals = { served: 0, lost: 0, frames: 0, bytes: 0, beganMs: Number.POSITIVE_INFINITY, endedMs: 0 };

  constructor(options: ProducerOptions, signal: AbortSignal | undefined) {
    this.#options = options;
    this.#pool = new PayloadPool(options.seed ?? 1, options.frameBytes ?? 2 ** 20);
    this.#stop = AbortSignal.any(
      signal === undefined ? [this.#roundServed.signal] : [signal, this.#roundServed.signal],
    );
    this.#servedBy = options.listen.map(() => 0);
    this.#servers = options.listen.map((_, index) => createServer((socket) => this.#accept(socket, index)));
  }

  async listen(): Promise<void> {
    const starts = this.#servers.map(async (server, index) => {
      server.listen({ ...this.#options.listen[index] });
      await once(server, 'listening');
      const bound = server.address();
      if (bound === null || typeof bound === 'string') throw new Error('A TCP listener has no TCP address');
      return formatAddress({ host: bound.address, port: bound.port });
    });
    // Wait for all before an error is thrown, so that close() finds every open listener.
    await Promise.allSettled(starts);
    this.#options.onListening?.(await Promise.all(starts));
  }

  async serve(): Promise<ProducerSummary> {
    if (!this.#stop.aborted) await once(this.#stop, 'abort');
    this.close();
    const grace = setTimeout(() => {
      for (const socket of this.#clients.keys()) socket.destroy();
    }, this.#options.graceMs ?? 5000);
    await Promise.all(this.#clients.values());
    clearTimeout(grace);
    const { served, lost, frames, bytes, beganMs, endedMs } = this.#totals;
    const seconds = Math.max(0, endedMs - beganMs) / 1000;
    return { served, lost, frames, bytes, seconds, gbps: seconds === 0 ? 0 : (bytes * 8) / 1e9 / seconds };
  }

  /** Stops listening. Idempotent. */
  close(): void {
    for (const server of this.#servers) if (server.listening) server.close();
  }

  #accept(socket: Socket, index: number): void {
    const { rate = 0, seed = 1, firstSequence = 0, sha256 = true } = this.#options;
    const frames = this.#share(index);
    const stream = { pool: this.#pool, connection: index, frames, rate, seed, firstSequence, sha256 };
    this.#totals.beganMs = Math.min(this.#totals.beganMs, performance.now());
    const peer = formatAddress({ host: socket.remoteAddress ?? 'unknown', port: socket.remotePort ?? 0 });
    const served = sendStream(socket, stream, this.#stop).then((outcome) =>
      this.#account(outcome, index, socket, peer),
    );
    this.#clients.set(socket, served);
  }

  #share(index: number): number {
    const { count = 0, listen } = this.#options;
    if (count === 0) return Number.POSITIVE_INFINITY;
    return Math.floor(count / listen.length) + (index < count % listen.length ? 1 : 0);
  }

  #account(outcome: Outcome, index: number, socket: Socket, peer: string): void {
    this.#clients.delete(socket);
    this.#totals.frames += outcome.frames;
    this.#totals.bytes += outcome.bytes;
    this.#totals.endedMs = performance.now();
    if (outcome.lostBecause === undefined) {
      this.#totals.served++;
      this.#servedBy[index] = (this.#servedBy[index] ?? 0) + 1;
    } else {
      this.#totals.lost++;
      this.#options.onClientLost?.(
        `Client ${peer} disconnected after ${outcome.frames} frames: ${outcome.lostBecause}`,
      );
    }
    const roundServed = this.#clients.size === 0 && this.#servedBy.every((clients) => clients > 0);
    if (this.#options.once === true && roundServed) this.#roundServed.abort();
  }
}
