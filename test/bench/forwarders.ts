import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatAddress, parseAddress, poll, type Address } from '@scistream/core';
import type { PortRange } from '@scistream/core/server';
import { processesBelow } from '../support/leftovers.js';
import { freeRange, listeningIn } from '../support/ports.js';
import { newDirectory, type Bench } from './bench.js';
import type { GatewayRequest, GatewayStart, StreamStarted } from './gateway.js';
import { cpuSeconds, Program } from './process.js';

const LOOPBACK = '127.0.0.1';
const READY_MS = 5_000;
const SOURCES = fileURLToPath(new URL('../../../test/bench/', import.meta.url));
const HERE = fileURLToPath(new URL('.', import.meta.url));

/** The proxy's threads in the hand-tuned configuration: as many as the plugin takes by default. */
const THREADS = Math.min(availableParallelism(), 4);

/** Something that forwards now. */
export interface Running extends AsyncDisposable {
  /** Entry i leads to target i. */
  readonly entries: readonly Address[];
  /** What its processes have used so far. */
  cpuSeconds(): number;
}

/** A way from clients to targets, which can be set up any number of times. */
export interface Forwarder {
  readonly name: string;
  /** Sets it up to one entry per target; what it returns accepts connections. */
  start(targets: readonly Address[]): Promise<Running>;
}

/** Nothing in between. */
export const direct: Forwarder = {
  name: 'direct',
  start: (targets) =>
    Promise.resolve({ entries: targets, cpuSeconds: () => 0, [Symbol.asyncDispose]: () => Promise.resolve() }),
};

/** The baseline of the relay, pipe.js. */
export const barePipe: Forwarder = {
  name: 'Node pipe',
  async start(targets) {
    const command = [process.execPath, join(SOURCES, 'pipe.js'), LOOPBACK, ...targets.map(formatAddress)];
    const program = new Program(command, { name: 'pipe.js' });
    const ports = JSON.parse(await program.line()) as number[];
    return {
      entries: ports.map((port) => ({ host: LOOPBACK, port })),
      cpuSeconds: () => cpuSeconds([program.pid]),
      [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
    };
  },
};

/** The baseline of the haproxy plugin, haproxy-hand-tuned.cfg. At most four targets. */
export function handTunedHaproxy(bench: Bench): Forwarder {
  return {
    name: 'HAProxy, hand-tuned',
    async start(targets) {
      const range = await freeRange(targets.length);
      const entries = targets.map((_, i) => ({ host: LOOPBACK, port: range.first + i }));
      const variables = Object.fromEntries([
        ...entries.map((entry, i) => [`LISTEN${i}`, formatAddress(entry)]),
        ...targets.map((target, i) => [`TARGET${i}`, formatAddress(target)]),
      ]) as Record<string, string>;
      const program = new Program(['haproxy', '-db', '-f', join(SOURCES, 'haproxy-hand-tuned.cfg')], {
        cwd: await newDirectory(bench, 'hand-tuned'),
        env: { ...process.env, ...variables, THREADS: `${THREADS}` },
      });
      const listening = async (): Promise<true | undefined> =>
        (await listeningIn(range)).length === targets.length || undefined;
      try {
        await poll(
          listening,
          { timeoutMs: READY_MS, signal: bench.signal },
          () => new Error('HAProxy does not listen'),
        );
      } catch (error) {
        await program[Symbol.asyncDispose]();
        throw error;
      }
      return {
        entries,
        cpuSeconds: () => cpuSeconds([program.pid]),
        [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
      };
    },
  };
}

/** Where a gateway is, when not on loopback of this network namespace. */
export interface Place {
  readonly host: string;
  readonly ports: PortRange;
  /** Put before the command, to run it elsewhere. */
  readonly prefix: readonly string[];
}

/** A gateway whose streams all have the same proxy, see gateway.ts. As a forwarder every `start` is a stream. */
export class Gateway implements Forwarder, AsyncDisposable {
  private constructor(
    readonly name: string,
    private readonly program: Program,
    private readonly state: string,
  ) {}

  /** Starts the program; it answers the first request when it is ready. */
  static async open(bench: Bench, name: string, proxy: string, place?: Place): Promise<Gateway> {
    const { host, ports, prefix } = place ?? { host: LOOPBACK, ports: await freeRange(16), prefix: [] };
    const state = await newDirectory(bench, 'gateway');
    const start: GatewayStart = { host, ports, proxy, state };
    const command = [...prefix, process.execPath, join(HERE, 'gateway.js'), JSON.stringify(start)];
    return new Gateway(name, new Program(command, { name: `the ${proxy} gateway` }), state);
  }

  async start(targets: readonly Address[]): Promise<Running> {
    const before = new Set(await processesBelow(this.state));
    const request: GatewayRequest = { targets: targets.map(formatAddress) };
    const { uid, entries } = await this.program.ask<StreamStarted>(request);
    const pids = (await processesBelow(this.state)).filter((pid) => !before.has(pid));
    if (pids.length === 0) throw new Error(`${this.name} forwards without a process`);
    const release: GatewayRequest = { release: uid };
    return {
      entries: entries.map((entry) => parseAddress(entry)),
      cpuSeconds: () => cpuSeconds(pids),
      [Symbol.asyncDispose]: async () => void (await this.program.ask(release)),
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }
}

/** Two forwarders one behind the other. @param outer The one clients connect to. */
export function chain(name: string, outer: Forwarder, inner: Forwarder): Forwarder {
  return {
    name,
    async start(targets) {
      const second = await inner.start(targets);
      try {
        const first = await outer.start(second.entries);
        return {
          entries: first.entries,
          cpuSeconds: () => first.cpuSeconds() + second.cpuSeconds(),
          [Symbol.asyncDispose]: async () => {
            await first[Symbol.asyncDispose]();
            await second[Symbol.asyncDispose]();
          },
        };
      } catch (error) {
        await second[Symbol.asyncDispose]();
        throw error;
      }
    },
  };
}
