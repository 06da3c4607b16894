import { poll, type Address } from '@scistream/core';
import { freeRange } from '../support/ports.js';
import { Program, run } from './process.js';
import type { Bench } from './bench.js';

/** Time beyond the measurement for connecting and exchanging results. */
const SPARE_MS = 15_000;
/** How long a server may take to be ready for the next measurement. */
const BUSY_MS = 5_000;

/** The parts of iperf3's JSON that are used. */
interface Report {
  readonly error?: string;
  readonly end?: { readonly sum_received?: { readonly bytes: number; readonly bits_per_second: number } };
}

/** Received data. */
export interface Transfer {
  readonly bytes: number;
  readonly bitsPerSecond: number;
}

/** iperf3 servers, one per address: the producers. Each serves one measurement at a time, with any number of connections. */
export class Producers implements AsyncDisposable {
  private constructor(
    readonly addresses: readonly Address[],
    private readonly programs: readonly Program[],
  ) {}

  /** @param prefix Command that runs the server elsewhere. */
  static async start(addresses: readonly Address[], prefix: readonly string[] = []): Promise<Producers> {
    const programs = addresses.map(({ host, port }) => {
      const command = [...prefix, 'iperf3', '--server', '--forceflush', '--bind', host, '--port', `${port}`];
      return new Program(command, { name: 'iperf3 --server' });
    });
    const producers = new Producers(addresses, programs);
    try {
      await Promise.all(programs.map(listening));
      return producers;
    } catch (error) {
      await producers[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Starts `count` servers on loopback. */
  static async onLoopback(count: number): Promise<Producers> {
    const { first } = await freeRange(count);
    return await Producers.start(Array.from({ length: count }, (_, i) => ({ host: '127.0.0.1', port: first + i })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.programs.map((program) => program[Symbol.asyncDispose]()));
  }
}

async function listening(program: Program): Promise<void> {
  while (!/^Server listening/.test(await program.line()));
}

/**
 * Receives at full speed (`--reverse`: data flows from producer to consumer) from all entries at the same time, with one
 * iperf3 for each.
 * @param connections Per entry.
 * @param prefix Command that runs iperf3 elsewhere.
 * @returns The sum.
 */
export async function receive(
  bench: Bench,
  entries: readonly Address[],
  connections: number,
  prefix: readonly string[] = [],
): Promise<Transfer> {
  const transfers = await Promise.all(entries.map((entry) => receiveFrom(bench, entry, connections, prefix)));
  const sum = (pick: (transfer: Transfer) => number): number => transfers.reduce((total, one) => total + pick(one), 0);
  return { bytes: sum(({ bytes }) => bytes), bitsPerSecond: sum(({ bitsPerSecond }) => bitsPerSecond) };
}

async function receiveFrom(
  { seconds, signal }: Bench,
  { host, port }: Address,
  connections: number,
  prefix: readonly string[],
): Promise<Transfer> {
  const where = ['--client', host, '--port', `${port}`];
  const command = [...prefix, 'iperf3', ...where, '--reverse', '--json', '--time', `${seconds}`];
  // A server that has just finished reports that it is busy. This wait is not measured.
  const attempt = async (): Promise<Transfer | undefined> => {
    const timeoutMs = seconds * 1000 + SPARE_MS;
    const { stdout, stderr } = await run([...command, '--parallel', `${connections}`], { signal, timeoutMs });
    const { error, end } = parse(stdout, stderr);
    if (end?.sum_received && error === undefined) {
      return { bytes: end.sum_received.bytes, bitsPerSecond: end.sum_received.bits_per_second };
    }
    if (error !== undefined && /busy/.test(error)) return undefined;
    throw new Error(`iperf3 to ${host}:${port}: ${error ?? 'no result'}`);
  };
  const first = await attempt();
  if (first) return first;
  return await poll(attempt, { timeoutMs: BUSY_MS, intervalMs: 50, signal }, (error) =>
    error instanceof Error ? error : new Error(`iperf3 at ${host}:${port} stays busy`),
  );
}

function parse(stdout: string, stderr: string): Report {
  try {
    return JSON.parse(stdout) as Report;
  } catch (cause) {
    throw new Error(`iperf3 printed no JSON: ${(stderr || stdout).trim().slice(0, 300)}`, { cause });
  }
}
