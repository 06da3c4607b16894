import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { container } from 'tsyringe';
import type { Address } from '@scistream/core';
import type { S2csConfig } from '@scistream/core/config';
import { registerServer, TOKENS, ControlServer, type Listening, type Resolver } from '@scistream/core/internal';
import { temporaryDirectory } from '@scistream/core/testing';
import type { AppResponse, Response } from '@scistream/core/wire';
import { connectPeer, type Peer, type PeerOptions } from './clients.js';
import { leftovers, type Leftovers } from './leftovers.js';
import { CapturedLog } from './logs.js';
import { freeRange, type PortRange } from './ports.js';

/** Two addresses of this machine, so that a listener on the wrong one shows. */
export const WAN = '127.0.0.2';
export const LAN = '127.0.0.3';
export const FACILITY = 'aps';
export const GATEWAY = 'dtn1';

export interface ServerOptions {
  /** How many ports the gateway has, default 16. */
  readonly ports?: number;
  readonly range?: PortRange;
  readonly limits?: Partial<S2csConfig['limits']>;
  readonly auth?: S2csConfig['auth'];
  readonly listen?: Address;
  /** Default: a directory of its own, removed at the end. */
  readonly state?: string;
  readonly proxies?: S2csConfig['proxies'];
  /** Files. */
  readonly policy?: S2csConfig['policy'];
  readonly audit?: S2csConfig['audit'];
  readonly minTls?: S2csConfig['minTls'];
  /** Default `optional`: existing clients know of no encryption. */
  readonly encryption?: S2csConfig['encryption'];
  /** What the control server looks names up with, where there are rules. */
  readonly resolver?: Resolver;
  /** Default: in the process of the control server. */
  readonly s2ds?: S2csConfig['gateways'][number]['s2ds'];
  /** Default: the one that the other options describe. */
  readonly gateways?: S2csConfig['gateways'];
}

/** What a test asks for; a stream of one listener on the producer's side when it does not say. */
export interface SetUp {
  readonly uid?: string;
  readonly role?: 'PROD' | 'CONS';
  readonly count?: number;
  readonly announced?: readonly string[];
  readonly targets?: readonly string[];
  readonly peer?: Peer;
}

/** A stream that was set up and what the server answered on the way. */
export interface MadeStream {
  readonly uid: string;
  readonly req: Response;
  readonly hello: AppResponse;
  /** Where it accepts connections. */
  readonly listeners: readonly Address[];
  /** Of the first listener. */
  readonly entry: Address;
}

/** A control server in this process with a gateway, ports and a state directory of its own, on a free port of loopback. */
export class TestServer implements AsyncDisposable {
  /** The client most tests use; it carries the token of existing clients that have none (protocol.md §2). */
  readonly peer: Peer;
  readonly #peers: Peer[] = [];

  private constructor(
    readonly server: ControlServer,
    readonly listening: Listening,
    readonly config: S2csConfig,
    readonly log: CapturedLog,
    peer: Peer,
    private readonly removeState: () => Promise<void>,
  ) {
    this.peer = peer;
    this.#peers.push(peer);
  }

  /** @throws what `ControlServer.start` throws */
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

  /** Another client with a connection of its own. */
  async connect(authorization?: string): Promise<Peer> {
    const peer = await connectPeer({ ...this.peerOptions, authorization });
    this.#peers.push(peer);
    return peer;
  }

  leftovers(): Promise<Leftovers> {
    return leftovers(this.state, this.range);
  }

  /** Sends REQ and HELLO as clients do, and UPDATE when there are targets. */
  async setUp(options: SetUp = {}): Promise<MadeStream> {
    const { uid = randomUUID(), role = 'PROD', count = 1, announced = [], targets = [], peer = this.peer } = options;
    const reply = peer.control.req({ uid, role, numConn: count, rate: 10_000 });
    const [hello, req] = await Promise.all([
      peer.control.hello({ uid, role, prodListeners: [...announced] }),
      // Awaited together: when one is refused, the other must not be an unhandled rejection.
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

/** `host:port` of IPv4, as the tests' gateways have it. */
export function toAddress(text: string): Address {
  const [host = '', port = ''] = text.split(':');
  return { host, port: Number(port) };
}

/** As the composition root does, on a container of its own. */
function compose(config: S2csConfig, logger: CapturedLog, resolver?: Resolver): ControlServer {
  const own = container.createChildContainer();
  registerServer(own, { config, logger, plugins: [] });
  if (resolver) own.register(TOKENS.Resolver, { useValue: resolver });
  return own.resolve(ControlServer);
}

const peerOptions = ({ state }: S2csConfig, { address, scheme }: Listening): PeerOptions => ({
  url: `${scheme}://${address}`,
  certificate: join(state, 'tls', 'server.crt'),
});

async function configure(options: ServerOptions, state: string): Promise<S2csConfig> {
  const ports = options.range ?? (await freeRange(options.ports ?? 16));
  return {
    facility: FACILITY,
    // The kernel chooses: the schema allows no 0, but a server can be asked where it listens.
    listen: options.listen ?? { host: '127.0.0.1', port: 0 },
    minTls: options.minTls ?? 'TLSv1.3',
    insecure: false,
    state,
    auth: options.auth ?? [],
    limits: {
      streams: 1000,
      waiting: 1000,
      connections: 1024,
      helloTimeoutMs: 180_000,
      lifetimeMs: 86_400_000,
      waitingPerIdentity: 250,
      watchesPerIdentity: 100,
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
    ...(options.audit && { audit: options.audit }),
  };
}
