import { randomUUID } from 'node:crypto';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ControlClient, resolveEndpoint, S2UC, type ProgressEvent } from '@scistream/core/client';
import { poll } from '@scistream/core';
import { connectPeer, type Peer } from '../support/clients.js';
import { leftovers } from '../support/leftovers.js';
import { freeRange, type PortRange } from '../support/ports.js';
import { newDirectory, type Bench } from './bench.js';
import { openDescriptors, Program, residentBytes } from './process.js';

const S2CS = fileURLToPath(new URL('./bin/s2cs.js', import.meta.resolve('@scistream/cli/package.json')));
/** Default number of ports of each gateway: 20 streams of 4 listeners, and a probe for each. */
const PORTS = 100;
const WAITING_MS = 120_000;

/** Resources of a control server and its streams, according to the operating system. */
export interface Footprint {
  readonly descriptors: number;
  /** As the server reports it. */
  readonly leasedPorts: number;
  readonly listeningPorts: number;
  readonly proxyProcesses: number;
  readonly instanceDirectories: number;
}

/** One `s2cs` in its own process, as a facility runs it, with a connection to it. */
class Server implements AsyncDisposable {
  readonly #client: ControlClient;
  readonly #peers: Peer[] = [];

  private constructor(
    /** host:port#fingerprint, as in a command. */
    readonly ref: string,
    private readonly program: Program,
    private readonly state: string,
    private readonly range: PortRange,
  ) {
    this.#client = new ControlClient(resolveEndpoint(ref, {}));
  }

  static async start(bench: Bench, facility: string, listen: string, range: PortRange): Promise<Server> {
    const directory = await newDirectory(bench, facility);
    const state = join(directory, 'state');
    const gateway = {
      name: `${facility}-gw`,
      wan: '127.0.0.1',
      lan: '127.0.0.1',
      ports: `${range.first}-${range.last}`,
    };
    const file = join(directory, 's2cs.json');
    await writeFile(file, JSON.stringify({ facility, listen, state, encryption: 'optional', gateways: [gateway] }), {
      mode: 0o600,
    });
    const own = Object.fromEntries(
      ['DATA', 'CONFIG', 'CACHE', 'STATE'].map((name) => [
        `SCISTREAM_${name}_DIR`,
        join(directory, name.toLowerCase()),
      ]),
    );
    const command = [process.execPath, S2CS, '--config', file, '--json', '--quiet', '--release-on-exit'];
    const program = new Program(command, { env: { ...process.env, ...own }, name: `s2cs ${facility}` });
    try {
      const { fingerprint } = JSON.parse(await program.line()) as { fingerprint: string };
      return new Server(`${listen}#${fingerprint}`, program, state, range);
    } catch (error) {
      await program[Symbol.asyncDispose]();
      throw error;
    }
  }

  get residentBytes(): number {
    return residentBytes(this.program.pid);
  }

  /** Sends requests for one listener without HELLO. Resolves when all of them wait. They end with the connection. */
  async fillWithRequests(count: number, signal: AbortSignal): Promise<void> {
    const url = `https://${this.ref.split('#')[0] ?? ''}`;
    const peer = await connectPeer({ url, certificate: join(this.state, 'tls', 'server.crt') });
    this.#peers.push(peer);
    const calls = Array.from({ length: count }, () =>
      peer.control.req({ uid: randomUUID(), role: 'PROD', numConn: 1 }),
    );
    // They end when the connection is closed. A rejected request never waits, so the deadline reports it.
    void Promise.allSettled(calls);
    const all = async (): Promise<true | undefined> => (await this.footprint()).leasedPorts >= count || undefined;
    await poll(all, { timeoutMs: WAITING_MS, intervalMs: 100, signal }, () => new Error('too few requests wait'));
  }

  async footprint(): Promise<Footprint> {
    const { gateways } = await this.#client.describe();
    const { listening, processes } = await leftovers(this.state, this.range);
    return {
      descriptors: openDescriptors(this.program.pid),
      leasedPorts: gateways.reduce((sum, { portsInUse }) => sum + portsInUse, 0),
      listeningPorts: listening.length,
      proxyProcesses: processes.length,
      instanceDirectories: (await readdir(join(this.state, 'process')).catch(() => [])).length,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.#peers) peer.cut();
    this.#client.close();
    await this.program[Symbol.asyncDispose]();
  }
}

/** Deviations from the default setup. */
export interface FacilityOptions {
  /** Called for every stream. */
  readonly onProgress?: (event: ProgressEvent) => void;
  /** Of each gateway. */
  readonly ports?: number;
}

/** Two control servers with a gateway each, and a user client in this process. */
export class Facilities implements AsyncDisposable {
  private constructor(
    readonly client: S2UC,
    /** Inbound and outbound side. */
    readonly servers: readonly [from: Server, to: Server],
  ) {}

  static async start(
    bench: Bench,
    { onProgress = () => undefined, ports = PORTS }: FacilityOptions = {},
  ): Promise<Facilities> {
    const { first } = await freeRange(2 * (ports + 1));
    const start = (facility: string, from: number): Promise<Server> =>
      Server.start(bench, facility, `127.0.0.1:${from}`, { first: from + 1, last: from + ports });
    const from = await start('beamline', first);
    try {
      const to = await start('cluster', first + ports + 1);
      const client = new S2UC({}, { onProgress, stateDir: await newDirectory(bench, 'user') });
      return new Facilities(client, [from, to]);
    } catch (error) {
      await from[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Both sides in the form of {@link S2UC.up}. */
  get sides(): { readonly from: string; readonly to: string } {
    const [from, to] = this.servers;
    return { from: from.ref, to: to.ref };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await Promise.all(this.servers.map((server) => server[Symbol.asyncDispose]()));
  }
}
