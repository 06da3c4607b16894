import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Address, Target } from '../contracts/address.js';
import { LABELS, type ContainerRef, type ContainerRuntime } from '../contracts/container-runtime.js';
import { SciStreamError, systemCode, type ErrorCode } from '../contracts/errors.js';
import type { PluginContext } from '../contracts/plugin.js';
import type { S2DS, S2DSRequest } from '../contracts/s2ds.js';
import type { Role, StreamSpec, StreamTls } from '../contracts/stream.js';
import { within } from '../contracts/wait.js';
import { RangePortAllocator } from '../gateway/ports.js';
import { testCredentials } from './credentials.js';
import { Interruptible } from './interruptible.js';
import { dial, tcpServer, type BeforeEnd, type TestServer } from './network.js';
import { freeRange, type FreeRange } from './ports.js';
import { PairedS2DS, type Pair } from './proxy-pair.js';
import { processFixture, type OpenRuntime, type RuntimeFixture, type TestHosts } from './runtime-fixture.js';
import {
  eventually,
  temporaryDirectory,
  testContext,
  testSpec,
  type TemporaryDirectory,
  type TestContext,
} from './support.js';
import { expectFree, expectRefused } from './system.js';

const PORTS = 64;
let ports: Promise<FreeRange> | undefined;

const LIMIT_MS = 120_000;
/** Shorter than the limit of a test, so that the error names the missing bytes. */
const ARRIVAL_MS = 100_000;
const LOCAL_HOSTS: TestHosts = { v4: '127.0.0.1', v6: '::1', name: 'localhost' };

/** Creates a data server; see `ProxyContract.create`. */
export type CreateS2DS = (context: PluginContext) => S2DS;

/** Configuration of a {@link ProxyEnvironment}. */
export interface ProxySetup {
  readonly create: CreateS2DS;
  /** See `ProxyContract.holds`, default true. */
  readonly holds?: boolean | undefined;
  /** See `ProxyContract.endsInTurn`. */
  readonly endsInTurn?: string | undefined;
  /** Runtime of the proxies, default `processFixture`. */
  readonly runtime?: RuntimeFixture | undefined;
  /** Makes every stream an encrypted pair; `far` creates the data server of the inbound half. */
  readonly paired?: { readonly far: CreateS2DS } | undefined;
}

/** Properties of a stream; default is one plain TCP listener on 127.0.0.1 with the role inbound. */
export interface StreamShape extends Partial<
  Pick<S2DSRequest, 'uid' | 'tls' | 'localAddress'> & Pick<StreamSpec, 'role' | 'transport' | 'connections' | 'sources'>
> {
  readonly host?: string;
}

/** A gateway for one test: an S2DS with its own runtime, ports and directory. */
export class ProxyEnvironment {
  /** Inserts something between the halves of a pair: receives a far listener, returns the target of the near half. */
  between: (far: Address) => Promise<Target> = (far) => Promise.resolve(far);
  #interruptible: Interruptible;
  #s2ds: S2DS;
  readonly #allocator: RangePortAllocator;
  readonly #contexts: TestContext[] = [];
  readonly #requests: S2DSRequest[] = [];
  readonly #pairs = new Map<string, Pair>();
  readonly #servers: TestServer[] = [];
  readonly #clients: Socket[] = [];

  private constructor(
    readonly directory: TemporaryDirectory,
    private readonly open: OpenRuntime,
    private readonly setup: ProxySetup,
    range: FreeRange,
  ) {
    this.#allocator = new RangePortAllocator(range);
    this.#interruptible = new Interruptible(open.runtime);
    this.#s2ds = this.#create();
  }

  /** The caller must close the environment; `inProxyEnvironment` does both. */
  static async open(setup: ProxySetup): Promise<ProxyEnvironment> {
    const directory = await temporaryDirectory();
    await mkdir(join(directory.path, 'data'), { mode: 0o700 });
    const fixture = setup.runtime ?? processFixture;
    const range = await (ports ??= freeRange(PORTS));
    return new ProxyEnvironment(directory, await fixture.open(join(directory.path, 'instances')), setup, range);
  }

  /** The data server under test, or a pair of them; see `ProxySetup.paired`. */
  get s2ds(): S2DS {
    return this.#s2ds;
  }

  get runtime(): ContainerRuntime {
    return this.#interruptible.runtime;
  }

  /** Whether connections that arrive before a target is set are held. */
  get holds(): boolean {
    return this.setup.holds ?? true;
  }

  /**
   * Awaited by a sender before it ends its side: waits until the other side has received everything if the proxy needs
   * `endsInTurn`.
   * @param heard Number of bytes that the other side has received so far.
   */
  beforeEnd(heard: () => number): BeforeEnd | undefined {
    if (this.setup.endsInTurn === undefined) return undefined;
    return (sent) => eventually(() => assert.equal(heard(), sent, 'bytes did not arrive'), ARRIVAL_MS);
  }

  get hosts(): TestHosts {
    return this.open.hosts ?? LOCAL_HOSTS;
  }

  /** Calls `work` whenever a program was started, before its readiness is checked. */
  afterStart(work: (ref: ContainerRef) => Promise<void>): void {
    this.#interruptible.afterStart = work;
  }

  /** The two streams behind a stream that was started as a pair. */
  pair(uid: string): Pair {
    const pair = this.#pairs.get(uid);
    assert.ok(pair, `stream ${uid} is not a pair`);
    return pair;
  }

  /** Reserves ports for a stream without starting it. */
  async reserve(shape: StreamShape = {}): Promise<S2DSRequest> {
    const { uid = randomUUID(), host = this.hosts.v4, tls, localAddress, ...wanted } = shape;
    const spec: StreamSpec = { ...testSpec, ...wanted, encryption: tls ? 'tls' : 'none' };
    const placement = await this.runtime.place?.(uid);
    const where = placement ? { host: placement.wan, remote: true } : { host };
    const listeners = await this.#allocator.allocate({
      uid,
      transport: spec.transport,
      count: spec.connections,
      ...where,
    });
    const node = placement ? { node: placement.node } : {};
    const request: S2DSRequest = {
      uid,
      spec,
      listeners,
      ...node,
      ...(tls && { tls }),
      ...(localAddress && { localAddress }),
    };
    this.#requests.push(request);
    return request;
  }

  /** Starts a stream without targets. */
  async start(shape: StreamShape = {}): Promise<S2DSRequest> {
    const request = await this.reserve(shape);
    await this.s2ds.start(request);
    return request;
  }

  /** Starts a stream of one listener with a target. Returns its uid, its listener and its request. */
  async startTo(
    target: Target,
    shape: StreamShape = {},
  ): Promise<{ uid: string; address: Address; request: S2DSRequest }> {
    const request = await this.start(shape);
    await this.s2ds.updateTargets(request.uid, [target]);
    return { uid: request.uid, address: listener(request), request };
  }

  async server(handler: (socket: Socket) => void, host = this.hosts.v4): Promise<Address> {
    const server = await tcpServer(handler, host);
    this.#servers.push(server);
    return server.address;
  }

  /** Connects and disconnects. Succeeds if something listens there, even if it closes the connection first. */
  async knock(address: Address): Promise<void> {
    const socket = await dial(address).catch((error: unknown) => {
      // A proxy without a target may reset the connection before `connect` is emitted.
      if (this.holds || systemCode(error) !== 'ECONNRESET') throw error;
    });
    socket?.destroy();
  }

  async dial(address: Address): Promise<Socket> {
    const socket = await dial(address);
    this.#clients.push(socket);
    return socket;
  }

  /** Addresses at which the programs of a stream, or of all streams, accept connections. */
  async listening(uid?: string): Promise<readonly string[]> {
    return await this.open.listening(
      await this.runtime.list({ [LABELS.serverId]: 'test', ...(uid === undefined ? {} : { [LABELS.uid]: uid }) }),
    );
  }

  /** Kills the programs of a stream, as an operator or the kernel would. */
  async kill(uid: string): Promise<void> {
    const states = await this.open.another().list({ [LABELS.uid]: uid });
    assert.notEqual(states.length, 0, 'no instance has the label of the stream');
    await Promise.all(states.map((state) => this.open.kill(state)));
  }

  /**
   * Simulates a restart of the daemon. The previous data server no longer does anything; `s2ds` and `runtime` are new
   * objects without state.
   */
  restart(): void {
    this.#interruptible.sever();
    this.#interruptible = new Interruptible(this.open.another());
    this.#s2ds = this.#create();
  }

  /** Asserts that no stream left anything behind, and that released ports are free. */
  async expectNothingLeft(): Promise<void> {
    assert.deepEqual(await this.open.leftovers(), [], 'something is left');
    assert.deepEqual(await this.runtime.list({ [LABELS.serverId]: 'test' }), [], 'instances are left');
    for (const { uid, listeners, spec, node } of this.#requests.splice(0)) {
      await this.#allocator.release(uid);
      const free = node === undefined ? expectFree : expectRefused;
      await Promise.all(listeners.map(({ address }) => free(address, spec.transport)));
    }
  }

  /** Releases every stream, checks for leftovers, and always removes the environment. */
  async close(): Promise<void> {
    try {
      for (const { uid } of [...this.#requests]) await this.s2ds.release(uid);
      for (const socket of this.#clients) socket.destroy();
      for (const context of this.#contexts.splice(0)) await context.close();
      await this.expectNothingLeft();
    } finally {
      for (const socket of this.#clients) socket.destroy();
      await this.open.close();
      // After a failure, open ports would keep the test process alive.
      await Promise.all(this.#allocator.inUse().map(({ uid }) => this.#allocator.release(uid)));
      await Promise.all(this.#servers.map((server) => server.close()));
      await this.directory.remove();
    }
  }

  #create(): S2DS {
    const { create, paired } = this.setup;
    const context = testContext({ runtime: this.runtime, dataDir: join(this.directory.path, 'data') });
    this.#contexts.push(context);
    const near = create(context);
    if (!paired) return near;
    const far = paired.far === create ? near : paired.far(context);
    return new PairedS2DS(near, far, this.#pairs, (request) => this.#makePair(request));
  }

  async #makePair(request: S2DSRequest): Promise<Pair> {
    const { transport, connections } = request.spec;
    const credentials = await testCredentials();
    const { host } = listener(request);
    const { localAddress } = request;
    const shape = { uid: `${request.uid}-far`, connections, host, transport, ...(localAddress && { localAddress }) };
    const far = await this.reserve(shape);
    return {
      near: encrypted(request, 'outbound', credentials.outbound),
      far: encrypted(far, 'inbound', credentials.inbound),
      credentials,
      through: await Promise.all(far.listeners.map(({ address }) => this.between(address))),
    };
  }
}

/**
 * Runs one test with its own gateway. Rejects with the error of the test, after two minutes, or if a process, a file or
 * a port is left behind.
 */
export async function inProxyEnvironment(
  setup: ProxySetup,
  test: (env: ProxyEnvironment) => Promise<void>,
): Promise<void> {
  const env = await ProxyEnvironment.open(setup);
  const [tested] = await Promise.allSettled([
    within(test(env), LIMIT_MS, () => new Error(`not done in ${LIMIT_MS} ms`)),
  ]);
  const [closed] = await Promise.allSettled([env.close()]);
  for (const result of [tested, closed]) if (result.status === 'rejected') throw result.reason;
}

/** The request for one side of an encrypted stream. */
function encrypted(request: S2DSRequest, role: Role, tls: StreamTls): S2DSRequest {
  return { ...request, spec: { ...request.spec, role, encryption: 'tls' }, tls };
}

/** Address of the i-th listener of a stream. */
export function listener(request: S2DSRequest, i = 0): Address {
  const found = request.listeners[i];
  assert.ok(found, `the stream has no listener ${i}`);
  return found.address;
}

/** Asserts that work fails with this code. @returns the error */
export async function expectCode(code: ErrorCode, work: Promise<unknown>): Promise<SciStreamError> {
  const error: unknown = await work.then(
    () => assert.fail(`expected ${code}`),
    (thrown: unknown) => thrown,
  );
  assert.ok(SciStreamError.is(error), `${String(error)} is not a SciStreamError`);
  assert.equal(error.code, code, error.message);
  return error;
}

/** Cases that a data server must pass: a title and a test. */
export type ProxyCases = Readonly<Record<string, (env: ProxyEnvironment) => Promise<void>>>;

/** Cases in which one side ends while the other still sends, so that `endsInTurn` matters. */
export const ENDING = /carries 6|passes the end|updates under load/;
