import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Address } from '@scistream/core';
import { Program } from './process.js';
import { quantile } from './statistics.js';

const ROUND_TRIPS = 2000;
const WARM_UP = 100;
const CONNECTIONS = 500;
const SILENCE_MS = 10_000;

/** The round trip of one byte, and the rate of consecutive connections. */
export interface Latency {
  readonly medianMicroseconds: number;
  readonly p99Microseconds: number;
  readonly connectionsPerSecond: number;
}

/** A process that sends everything back, see echo.ts. */
export class EchoServer implements AsyncDisposable {
  private constructor(
    readonly addresses: readonly Address[],
    private readonly program: Program,
  ) {}

  /** Listens on `count` free loopback ports. */
  static async start(count: number): Promise<EchoServer> {
    const host = '127.0.0.1';
    const file = fileURLToPath(new URL('./echo.js', import.meta.url));
    const program = new Program([process.execPath, file, host, `${count}`], { name: 'echo.js' });
    const ports = JSON.parse(await program.line()) as number[];
    return new EchoServer(
      ports.map((port) => ({ host, port })),
      program,
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }
}

/** Measures through an entry that forwards to an {@link EchoServer}. */
export async function measureLatency(entry: Address, signal: AbortSignal): Promise<Latency> {
  const trips = await roundTrips(entry, signal);
  return {
    medianMicroseconds: quantile(trips, 0.5),
    p99Microseconds: quantile(trips, 0.99),
    connectionsPerSecond: await connectionsPerSecond(entry, signal),
  };
}

/** Consecutive round trips of one byte on one connection, in µs. */
async function roundTrips(entry: Address, signal: AbortSignal): Promise<readonly number[]> {
  const socket = await open(entry);
  try {
    const trips: number[] = [];
    for (let i = -WARM_UP; i < ROUND_TRIPS; i += 1) {
      signal.throwIfAborted();
      const sent = performance.now();
      await echoed(socket);
      if (i >= 0) trips.push((performance.now() - sent) * 1000);
    }
    return trips;
  } finally {
    socket.destroy();
  }
}

/** Connects, exchanges one byte and closes on both sides, one connection after another. */
async function connectionsPerSecond(entry: Address, signal: AbortSignal): Promise<number> {
  const begun = performance.now();
  for (let i = 0; i < CONNECTIONS; i += 1) {
    signal.throwIfAborted();
    const socket = await open(entry);
    await echoed(socket);
    const closed = once(socket, 'close');
    socket.end();
    await closed;
  }
  return (CONNECTIONS * 1000) / (performance.now() - begun);
}

async function open({ host, port }: Address): Promise<Socket> {
  const socket = connect({ host, port, noDelay: true });
  // Without a listener, a later error would end this program; 'close' reports it, too.
  socket.on('error', () => undefined);
  socket.setTimeout(SILENCE_MS, () => socket.destroy(new Error(`${host}:${port} was silent for ${SILENCE_MS} ms`)));
  await once(socket, 'connect');
  return socket;
}

/** Sends one byte and waits for one. `once` alone would wait forever if the connection ends. */
function echoed(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    const ended = (): void => reject(socket.errored ?? new Error('the connection ended instead of an echo'));
    socket.once('close', ended);
    socket.once('data', () => {
      socket.off('close', ended);
      resolve();
    });
    socket.write('x');
  });
}
