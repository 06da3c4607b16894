import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { container } from 'tsyringe';
import type { Address } from '@scistream/core';
import type { S2csConfig } from '@scistream/core/config';
import {
  ENDED_LIMITS,
  registerServer,
  TOKENS,
  ControlServer,
  type ServerListening,
  type Resolver,
} from '@scistream/core/internal';
import { temporaryDirectory } from '@scistream/core/testing';
import type { AppResponse, Response } from '@scistream/core/wire';
import { connectPeer, type Peer, type PeerOptions } from './clients.js';
import { leftovers, type Leftovers } from './leftovers.js';
import { CapturedLog } from './logs.js';
import { freeRange, type PortRange } from './ports.js';

/** Two addresses of this machine, to detect listeners on the wrong one. */
export const WAN = '127.0.0.2';
export const LAN = '127.0.0.3';
export const FACILITY = 'aps';
export const GATEWAY = 'dtn1';

export interface ServerOptions {
  /** Number of ports of the gateway; default 16. */
  readonly ports?: number;
  readonly range?: PortRange;
  readonly limits?: Partial<S2csConfig['limits']>;
  readonly auth?: S2csConfig['auth'];
  readonly listen?: Address;
  /** Default: a new directory, removed at the end. */
  readonly state?: string;
  readonly proxies?: S2csConfig['proxies'];
  /** Files. */
  readonly policy?: S2csConfig['policy'];
  readonly metrics?: S2csConfig['metrics'];
  readonly audit?: { readonly file: string; readonly size: number; readonly keep: number };
  readonly minTls?: S2csConfig['minTls'];
  /** Plain text; default false. */
  readonly insecure?: boolean;
  /** Default `optional`, because legacy clients do not know encryption. */
  readonly encryption?: S2csConfig['encryption'];
  /** Resolver for names in rules. */
  readonly resolver?: Resolver;
  /** Default: embedded in the control server. */
  readonly s2ds?: S2csConfig['gateways'][number]['s2ds'];
  /** Default: one gateway made from the other options. */
  readonly gateways?: S2csConfig['gateways'];
}

/** A request for a stream; by default a stream with one listener on the producer's side. */
export interface SetUp {
  readonly uid?: string;
  readonly role?: 'PROD' | 'CONS';
  readonly count?: number;
  readonly announced?: readonly string[];
  readonly targets?: readonly string[];
  readonly peer?: Peer;
}

/** A stream that was set up, and the answers of the server. */
export interface MadeStream {
  readonly uid: string;
  readonly req: Response;
  readonly hello: AppResponse;
  /** Addresses that accept connections. */
  readonly listeners: readonly Address[];
  /** The first listener. */
  readonly entry: Address;
}

/** A control server in this process with its own gateway, ports and state directory, on a free loopback port. */
export class TestServer implements AsyncDisposable {
  /** The client that most tests use. It sends the placeholder token of legacy clients (protocol.md §2). */
  readonly peer: Peer;
  readonly #peers: Peer[] = [];

  private constructor(
    readonly server: ControlServer,
    readonly listening: ServerListening,
    readonly config: S2csConfig,
    readonly log: CapturedLog,
    peer: Peer,
    private readonly removeState: () => Promise<void>,
  ) {
    this.peer = peer;
    this.#peers.push(peer);
  }

  /** @throws What `ControlServer.start` throws. */
  static async start(options: ServerOptions = {}): Promise<TestServer> {
    const made = options.state === undefined ? await temporaryDirectory() : undefined;
    const config = await configure(options, options.state ?? made?.path ?? '');
    const log = new CapturedLog();
    const server = compose(config, log, options.resolver);
    try {
      const listening = await server.start();
      const peer = await connectPeer({ ...peerOptions(config, listening), authorization: 'INVALID_TOKEN' });
      return new TestServer(server, listening, config, log, peer, async () => made?.remove());
    } catch (error) {
      await made?.remove();
      throw error;
    }
  }

  get state(): string {
    return this.config.state;
  }

  get range(): PortRange {
    const [gateway] = this.config.gateways;
    if (!gateway) throw new Error('no gateway');
    return gateway.ports;
  }

  get peerOptions(): PeerOptions {
    return peerOptions(this.config, this.listening);
  }

  /** Another client with its own connection. */
  async connect(authorization?: string): Promise<Peer> {
    const peer = await connectPeer({ ...this.peerOptions, authorization });
    this.#peers.push(peer);
    return peer;
  }

  leftovers(): Promise<Leftovers> {
    return leftovers(this.state, this.range);
  }

  /** Sends REQ and HELLO as clients do, and UPDATE if there are targets. */
  async setUp(options: SetUp = {}): Promise<MadeStream> {
    const { uid = randomUUID(), role = 'PROD', count = 1, announced = [], targets = [], peer = this.peer } = options;
    const reply = peer.control.req({ uid, role, numConn: count, rate: 10_000 });
    const [hello, req] = await Promise.all([
      peer.control.hello({ uid, role, prodListeners: [...announced] }),
      // Awaited together: if one is rejected, the other must not be an unhandled rejection.
      reply,
    ]);
    if (targets.length > 0) await peer.control.update({ uid, remoteListeners: [...targets], role });
    const listeners = req.listeners.map(toAddress);
    const [entry] = listeners;
    if (!entry) throw new Error(`stream ${uid} has no listener`);
    return { uid, req, hello, listeners, entry };
  }

  /** The state of a stream as its owner sees it. */
  async stateOf(uid: string, peer = this.peer): Promise<string> {
    return (await peer.streams.get({ uid })).state;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.#peers) peer.cut();
    await this.server.stop({ release: true });
    await this.removeState();
  }
}

/** Parses `host:port` with IPv4, which the gateways of tests use. */
export function toAddress(text: string): Address {
  const [host = '', port = ''] = text.split(':');
  return { host, port: Number(port) };
}

/** Composes a server as the composition root does, on its own container. */
function compose(config: S2csConfig, logger: CapturedLog, resolver?: Resolver): ControlServer {
  const own = container.createChildContainer();
  registerServer(own, { config, logger, plugins: [] });
  if (resolver) own.register(TOKENS.Resolver, { useValue: resolver });
  return own.resolve(ControlServer);
}

const peerOptions = ({ state }: S2csConfig, { address, scheme }: ServerListening): PeerOptions => ({
  url: `${scheme}://${address}`,
  certificate: join(state, 'tls', 'server.crt'),
});

async function configure(options: ServerOptions, state: string): Promise<S2csConfig> {
  const ports = options.range ?? (await freeRange(options.ports ?? 16));
  return {
    facility: FACILITY,
    // The kernel chooses a port. The schema does not allow 0, but a test can ask the server for its address.
    listen: options.listen ?? { host: '127.0.0.1', port: 0 },
    minTls: options.minTls ?? 'TLSv1.3',
    insecure: options.insecure ?? false,
    state,
    auth: options.auth ?? [],
    limits: {
      streams: 1000,
      waiting: 1000,
      connections: 1024,
      helloTimeoutMs: 180_000,
      lifetimeMs: 86_400_000,
      waitingPerIdentity: 250,
      streamsPerIdentity: 100,
      connectionsPerIdentity: undefined,
      streamsPerMinute: 300,
      updatesPerMinute: 600,
      ...ENDED_LIMITS,
      watchesPerIdentity: 100,
      updatesPerSecond: 1000,
      requestsPerSecond: 1000,
      strangerRequestsPerSecond: 50,
      strangerTimeoutMs: 30_000,
      clients: 2000,
      clientsPerAddress: 500,
      ...options.limits,
    },
    gateways: options.gateways ?? [
      {
        name: GATEWAY,
        s2ds: options.s2ds ?? 'embedded',
        wan: WAN,
        lan: LAN,
        ports,
        proxy: 'relay',
        runtime: 'process',
      },
    ],
    proxies: options.proxies ?? { relay: { processes: 1 } },
    runtimes: {},
    plugins: [],
    encryption: options.encryption ?? 'optional',
    ...(options.policy !== undefined && { policy: options.policy }),
    ...(options.metrics && { metrics: options.metrics }),
    ...(options.audit && { audit: { rotateMs: 86_400_000, minAgeMs: 0, ...options.audit } }),
  };
}

/** Port of the control server. */
export const portOf = ({ listening }: TestServer): number => Number(listening.address.split(':')[1]);
/** Its URL, with scheme and port. */
export const urlOf = ({ listening }: TestServer): string => `${listening.scheme}://${listening.address}`;
