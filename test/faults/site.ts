import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { Address } from '@scistream/core';
import { eventually, exchange, named, tcpServer, type TestServer } from '@scistream/core/testing';
import { connectPeer, type Peer } from '../support/clients.js';
import { Daemon, GatewayDaemon, type DaemonOptions } from '../support/daemon.js';
import { NOTHING, processesBelow, type Leftovers } from '../support/leftovers.js';
import { toAddress } from '../support/server.js';
import { Application, establish, megabytes, type Established } from './traffic.js';

/** Time limit for everything that must happen. Generous, because a slow machine is not a defect. */
export const PATIENCE_MS = 120_000;

/** The token that legacy clients send if the server has no `auth`. */
export const TOKEN = 'INVALID_TOKEN';

/** Options of a {@link Site}. */
export interface SiteOptions extends DaemonOptions {
  /** Whether the data server is a separate daemon. */
  readonly separate?: boolean;
  /** Command that runs that daemon. */
  readonly gatewayPrefix?: readonly string[];
  /** Address where the control server reaches that daemon, if it differs. */
  readonly between?: (s2ds: string) => Promise<string>;
}

/** A stream that is set up. */
export interface Stream {
  readonly uid: string;
  /** Its only listener. */
  readonly entry: Address;
}

/** A control server with a gateway, both real daemons, and applications behind them. Removes everything at the end. */
export class Site implements AsyncDisposable {
  readonly #peers: Peer[] = [];

  private constructor(
    readonly server: Daemon,
    /** Absent if embedded. */
    readonly gateway: GatewayDaemon | undefined,
    /** An application that sends everything back. */
    readonly application: Application,
    /** Two applications that send `a` or `b` first. */
    readonly a: TestServer,
    readonly b: TestServer,
  ) {}

  static async start({ separate, gatewayPrefix = [], between, ...options }: SiteOptions = {}): Promise<Site> {
    const place = { prefix: gatewayPrefix, wan: '127.0.0.2', lan: '127.0.0.3' };
    const gateway = separate ? await GatewayDaemon.start('aps-gw', 16, place) : undefined;
    try {
      const s2ds = gateway && ((await between?.(gateway.address)) ?? gateway.address);
      const server = await Daemon.start({ ...options, ...(s2ds && { s2ds }) });
      const [a, b] = await Promise.all([tcpServer(named('a')), tcpServer(named('b'))]);
      return new Site(server, gateway, await Application.start(), a, b);
    } catch (error) {
      await gateway?.[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The daemon that owns the files and processes of the streams. */
  get owner(): Daemon | GatewayDaemon {
    return this.gateway ?? this.server;
  }

  /** A client with its own connection, closed at the end. @param address Of the control server, if it differs */
  async connect(address = this.server.address): Promise<Peer> {
    const { certificate } = this.server;
    const options = { url: `https://${address}`, certificate, authorization: TOKEN };
    const peer = await connectPeer(options);
    this.#peers.push(peer);
    return peer;
  }

  /** REQ, HELLO, UPDATE. */
  async setUp({ control }: Peer, { proxy = 'relay', runtime = '', target = this.application.address } = {}) {
    const uid = randomUUID();
    const [{ listeners }] = await Promise.all([
      control.req({ uid, role: 'PROD', numConn: 1, proxy, runtime }),
      control.hello({ uid, prodListeners: [target] }),
    ]);
    await control.update({ uid, remoteListeners: [target] });
    return { uid, entry: toAddress(listeners[0] ?? '') } satisfies Stream;
  }

  /** A stream that carries data. */
  async flowing(peer: Peer, proxy = 'relay'): Promise<Stream & { readonly flow: Established }> {
    const stream = await this.setUp(peer, { proxy });
    return { ...stream, flow: await establish(stream.entry) };
  }

  /** Sets target `b`, and checks that new connections reach it. */
  async retarget({ control }: Peer, { uid, entry }: Stream): Promise<void> {
    await control.update({ uid, remoteListeners: [`127.0.0.1:${this.b.address.port}`] });
    assert.is(await exchange(entry, 'x'), 'bx');
  }

  /** Waits for a state of a stream. */
  async reaches({ streams }: Peer, uid: string, state: string): Promise<void> {
    await eventually(async () => assert.is((await streams.get({ uid })).state, state), PATIENCE_MS);
  }

  /** Waits until the control server has found its gateway, or has detected that it is unreachable. */
  async gatewayUp({ streams }: Peer, up = true): Promise<void> {
    await eventually(async () => {
      const { gateways } = await streams.describeServer({});
      assert.is(gateways[0]?.up, up, `the gateway is said to be ${up ? 'down' : 'up'}`);
    }, PATIENCE_MS);
  }

  leftovers(): Promise<Leftovers> {
    return this.owner.leftovers();
  }

  /** Waits until the leftovers are as `expected`. A process that was ended may take a moment to disappear. */
  async settles(expected: Leftovers = NOTHING): Promise<void> {
    await eventually(async () => assert.equal(await this.leftovers(), expected), PATIENCE_MS);
  }

  /**
   * The end of most cases: sets another target, ends the old connection, releases the stream, and checks that nothing is
   * left. @returns What was seen.
   */
  async conclude(peer: Peer, stream: Stream & { readonly flow: Established }): Promise<string> {
    await this.reaches(peer, stream.uid, 'streaming');
    await this.retarget(peer, stream);
    await stream.flow.moves();
    const bytes = await stream.flow.finish();
    await peer.control.release({ uid: stream.uid });
    await this.settles();
    return `0 of ${megabytes(bytes)} lost; retargeted; nothing left`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.#peers) peer.cut();
    // Also removes the streams' resources, unless the case failed while a daemon was dead.
    await this.server.stop();
    await this.gateway?.stop();
    for (const pid of await processesBelow(this.owner.state)) process.kill(pid, 'SIGKILL');
    await this.server[Symbol.asyncDispose]();
    await this.gateway?.[Symbol.asyncDispose]();
    for (const server of [this.application, this.a, this.b]) await server[Symbol.asyncDispose]();
  }
}

/** Path of a compiled file of this folder. */
export const compiled = (name: string): string => join(import.meta.dirname, name);
