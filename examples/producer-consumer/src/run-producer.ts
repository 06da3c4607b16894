import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { formatAddress, type Address } from './address.js';
import { PayloadPool } from './payload-pool.js';
import { sendStream, type Outcome } from './send-stream.js';

/** What a producer sends and where it listens. */
export interface ProducerOptions {
  /** One listener each; port 0 takes a free one. Every client of a listener gets a stream of its own. */
  readonly listen: readonly Address[];
  /** Payload of a frame, bytes, 1 to 2^30. Default 1 MiB. */
  readonly frameBytes?: number;
  /** Frames per second on each connection, on average since it began; 0 (default) is as fast as it goes. */
  readonly rate?: number;
  /**
   * Frames in total when each listener has one client: listener k of n gives each of its clients N/n frames, the first
   * N mod n listeners one more. 0 (default) is until stopped.
   */
  readonly count?: number;
  /** Seed of the payloads, 32 bits. Default 1. */
  readonly seed?: number;
  /** Sequence of the first frame on every connection. Default 0. */
  readonly firstSequence?: number;
  /** False leaves the SHA-256 out of the closing frames, for speed tests. Default true. */
  readonly sha256?: boolean;
  /** Stop when every listener has served one client to the end and no client is left. Default false. */
  readonly once?: boolean;
  /** Time clients get to take their closing frame after a stop, ms; then they are cut off. Default 5000. */
  readonly graceMs?: number;
  /** Called once, when all listeners accept, with their real addresses in the order of `listen`. */
  readonly onListening?: (addresses: string[]) => void;
  /** Called for each client that left before its closing frame, with a sentence about it. */
  readonly onClientLost?: (sentence: string) => void;
}

/** What a producer did. */
export interface ProducerSummary {
  /** Clients that took their stream up to the closing frame. */
  readonly served: number;
  /** Clients that left, or were cut off, before. */
  readonly lost: number;
  /** Data frames handed to the kernel. */
  readonly frames: number;
  /** Payload bytes of these frames. */
  readonly bytes: number;
  /** From the first client's arrival to the last one's end, s. */
  readonly seconds: number;
  /** Payload, 10^9 bit/s over `seconds`. */
  readonly gbps: number;
}

/**
 * Listens and sends frames to whoever connects, until `signal` aborts or, with `once`, the first round is served.
 * A stop closes the listeners and ends every stream with its closing frame. Throws the system's error when an address
 * cannot be listened on; then nothing listens.
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
    // All of them settle before an error leaves, so that the caller's close finds every one that listens.
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

  /** Stops listening; harmless when nothing listens. */
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
      this.#options.onClientLost?.(`Client ${peer} left after ${outcome.frames} frames: ${outcome.lostBecause}`);
    }
    const roundServed = this.#clients.size === 0 && this.#servedBy.every((clients) => clients > 0);
    if (this.#options.once === true && roundServed) this.#roundServed.abort();
  }
}
