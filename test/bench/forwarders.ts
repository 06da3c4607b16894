import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatAddress, type Address, type StreamTls } from '@scistream/core';
import { type PortRange, parseAddress, type Role } from '@scistream/core/internal';
import { processesBelow } from '../support/leftovers.js';
import { freeRange } from '../support/ports.js';
import { newDirectory, type Bench } from './bench.js';
import type { GatewayOpened, GatewayRequest, GatewayStart, GatewayWish, Retargeted, StreamStarted } from './gateway.js';
import { cpuSeconds, Program } from './process.js';

export const LOOPBACK = '127.0.0.1';
const HERE = fileURLToPath(new URL('.', import.meta.url));

/** A running forwarder. */
export interface Running extends AsyncDisposable {
  /** Entry i forwards to target i. */
  readonly entries: readonly Address[];
  /** CPU time of its processes so far. */
  cpuSeconds(): number;
}

/** A way from clients to targets, which can be started any number of times. */
export interface Forwarder {
  readonly name: string;
  /** Starts it with one entry per target. The entries accept connections when this resolves. */
  start(targets: readonly Address[]): Promise<Running>;
}

/** Clients connect to the targets directly. */
export const direct: Forwarder = {
  name: 'direct',
  start: (targets) =>
    Promise.resolve({ entries: targets, cpuSeconds: () => 0, [Symbol.asyncDispose]: () => Promise.resolve() }),
};

/** The place of a gateway that is not on loopback of this network namespace. */
export interface Place {
  readonly host: string;
  readonly ports: PortRange;
  /** Command that runs it elsewhere. */
  readonly prefix: readonly string[];
}

/** Deviations of a gateway from the default. */
export interface GatewayOptions {
  readonly place?: Place;
  /** Number of ports; default 16. */
  readonly ports?: number;
  /** Default `process`. */
  readonly runtime?: string;
  readonly options?: GatewayStart['options'];
}

/** A gateway whose streams all have the same proxy, see gateway.ts. As a forwarder every `start` is an inbound stream. */
export class Gateway implements Forwarder, AsyncDisposable {
  private constructor(
    readonly name: string,
    private readonly argument: GatewayStart,
    private readonly prefix: readonly string[],
    private program: Program,
    /** Ms until it was ready, including the recovery of existing streams. */
    public openMs: number,
  ) {}

  /** Starts the program. It is ready when this resolves. */
  static async open(bench: Bench, name: string, proxy: string, how: GatewayOptions = {}): Promise<Gateway> {
    const { runtime = 'process', options = { proxy: {}, runtime: {} } } = how;
    const { host, ports, prefix } = how.place ?? {
      host: LOOPBACK,
      ports: await freeRange(how.ports ?? 16),
      prefix: [],
    };
    const state = await newDirectory(bench, 'gateway');
    const argument = { host, ports, proxy, runtime, options, state };
    return new Gateway(name, argument, prefix, ...(await launch(argument, prefix)));
  }

  /** The working directory of its proxies, in the runtime `process`. */
  get state(): string {
    return this.argument.state;
  }

  get ports(): PortRange {
    return this.argument.ports;
  }

  async start(targets: readonly Address[]): Promise<Running> {
    return await this.#run({ targets: targets.map(formatAddress), role: 'inbound' });
  }

  /** A forwarder for streams of one side, optionally encrypted. */
  hop(role: Role, tls?: StreamTls): Forwarder {
    return {
      name: this.name,
      start: (targets) => this.#run({ targets: targets.map(formatAddress), role, ...(tls ? { tls } : {}) }),
    };
  }

  /** Starts streams concurrently. */
  startAll(wishes: readonly GatewayWish[]): Promise<readonly StreamStarted[]> {
    return this.#ask({ start: wishes });
  }

  releaseAll(uids: readonly string[]): Promise<object> {
    return this.#ask({ release: uids });
  }

  retarget(uid: string, targets: readonly Address[]): Promise<Retargeted> {
    return this.#ask({ retarget: uid, targets: targets.map(formatAddress) });
  }

  /** Kills the program and restarts it, so that it recovers its streams. */
  async crash(): Promise<void> {
    await this.program.kill();
    try {
      [this.program, this.openMs] = await launch(this.argument, this.prefix);
    } catch (error) {
      // No daemon controls them any longer.
      for (const pid of await processesBelow(this.state)) process.kill(pid, 'SIGKILL');
      throw error;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }

  async #run(wish: GatewayWish): Promise<Running> {
    const before = new Set(await processesBelow(this.state));
    const [started] = await this.startAll([wish]);
    if (!started) throw new Error(`${this.name} started no stream`);
    const pids = (await processesBelow(this.state)).filter((pid) => !before.has(pid));
    if (pids.length === 0 && this.argument.runtime === 'process') throw new Error(`${this.name} has no process`);
    return {
      entries: started.entries.map((entry) => parseAddress(entry)),
      cpuSeconds: () => cpuSeconds(pids),
      [Symbol.asyncDispose]: async () => void (await this.releaseAll([started.uid])),
    };
  }

  #ask<Answer>(request: GatewayRequest): Promise<Answer> {
    return this.program.ask<Answer>(request);
  }
}

/** Starts the program and waits until it is ready. */
async function launch(argument: GatewayStart, prefix: readonly string[]): Promise<[Program, number]> {
  const command = [...prefix, process.execPath, join(HERE, 'gateway.js'), JSON.stringify(argument)];
  const program = new Program(command, { name: `the ${argument.proxy} gateway` });
  try {
    const { openMs } = JSON.parse(await program.line()) as GatewayOpened;
    return [program, openMs];
  } catch (error) {
    await program[Symbol.asyncDispose]();
    throw error;
  }
}

/** Two forwarders in a row. @param outer The one that clients connect to. */
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
