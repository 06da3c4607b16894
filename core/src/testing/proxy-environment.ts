import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Address, Transport } from '../contracts/address.js';
import { LABELS, type ContainerRef, type ContainerRuntime } from '../contracts/container-runtime.js';
import { SciStreamError, systemCode, type ErrorCode } from '../contracts/errors.js';
import type { PluginContext } from '../contracts/plugin.js';
import type { S2DS, S2DSRequest } from '../contracts/s2ds.js';
import { within } from '../contracts/wait.js';
import { RangePortAllocator } from '../gateway/range-port-allocator.js';
import { testCredentials } from './credentials.js';
import { Interruptible } from './interruptible.js';
import { dial, tcpServer, type BeforeEnd, type TestServer } from './network.js';
import { freeRange, type FreeRange } from './ports.js';
import { PairedS2DS, type Pair } from './proxy-pair.js';
import { processFixture, type OpenRuntime, type RuntimeFixture, type TestHosts } from './runtime-fixture.js';
import { eventually, temporaryDirectory, testContext, type TemporaryDirectory, type TestContext } from './support.js';
import { expectFree, expectRefused } from './system.js';

const PORTS = 64;
let ports: Promise<FreeRange> | undefined;

const LIMIT_MS = 120_000;
/** Less than a test may take, so that it says what did not arrive. */
const ARRIVAL_MS = 100_000;
const LOCAL_HOSTS: TestHosts = { v4: '127.0.0.1', v6: '::1', name: 'localhost' };

/** Makes a data server; see `ProxyContract.create`. */
export type CreateS2DS = (context: PluginContext) => S2DS;

/** What a {@link ProxyEnvironment} is made of. */
export interface ProxySetup {
  readonly create: CreateS2DS;
  /** See `ProxyContract.holds`, default true. */
  readonly holds?: boolean | undefined;
  /** See `ProxyContract.endsInTurn`. */
  readonly endsInTurn?: string | undefined;
  /** Where the proxies run, default `processFixture`. */
  readonly runtime?: RuntimeFixture | undefined;
  /** Makes every stream a pair that is encrypted between its two halves; `far` makes the data server of the PROD half. */
  readonly paired?: { readonly far: CreateS2DS } | undefined;
}

/** What a test asks a stream to be; one TCP listener on 127.0.0.1 when it does not say. */
export interface StreamShape {
  readonly uid?: string;
  readonly count?: number;
  readonly host?: string;
  readonly transport?: Transport;
}

/** A gateway of one test: an S2DS with a runtime, ports and a directory that nobody else uses. */
export class ProxyEnvironment {
  /** Where a test puts something between the two halves of a pair: gets a far listener, returns what near connects to. */
  between: (far: Address) => Promise<Address> = (far) => Promise.resolve(far);
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

  /** Whoever opens an environment closes it; `inProxyEnvironment` does both. */
  static async open(setup: ProxySetup): Promise<ProxyEnvironment> {
    const directory = await temporaryDirectory();
    await mkdir(join(directory.path, 'data'), { mode: 0o700 });
    const fixture = setup.runtime ?? processFixture;
    const range = await (ports ??= freeRange(PORTS));
    return new ProxyEnvironment(directory, await fixture.open(join(directory.path, 'instances')), setup, range);
  }

  /** The data server under test, or two of them as one; see `ProxySetup.paired`. */
  get s2ds(): S2DS {
    return this.#s2ds;
  }

  get runtime(): ContainerRuntime {
    return this.#interruptible.runtime;
  }

  /** Whether connections that come before their target are held. */
  get holds(): boolean {
    return this.setup.holds ?? true;
  }

  /**
   * What a sender does before it ends its side: nothing, or, where a proxy demands `endsInTurn`, it waits until the other
   * side has heard everything.
   * @param heard Bytes the other side has heard so far.
   */
  beforeEnd(heard: () => number): BeforeEnd | undefined {
    if (this.setup.endsInTurn === undefined) return undefined;
    return (sent) => eventually(() => assert.equal(heard(), sent, 'bytes did not arrive'), ARRIVAL_MS);
  }

  get hosts(): TestHosts {
    return this.open.hosts ?? LOCAL_HOSTS;
  }

  /** Calls `work` whenever a program was started, before anybody asks whether it is ready. */
  afterStart(work: (ref: ContainerRef) => Promise<void>): void {
    this.#interruptible.afterStart = work;
  }

  /** The two streams behind one that was started as a pair. */
  pair(uid: string): Pair {
    const pair = this.#pairs.get(uid);
    assert.ok(pair, `stream ${uid} is no pair`);
    return pair;
  }

  /** Reserves ports for a stream that has not been started. */
  async reserve(shape: StreamShape = {}): Promise<S2DSRequest> {
    const { uid = randomUUID(), count = 1, host = this.hosts.v4, transport = 'tcp' } = shape;
    const placement = await this.runtime.place?.(uid);
    const where = placement ? { host: placement.wan, remote: true } : { host };
    const listeners = await this.#allocator.allocate({ uid, transport, count, ...where });
    const node = placement ? { node: placement.node } : {};
    const request: S2DSRequest = { uid, role: 'inbound', transport, listeners, ...node };
    this.#requests.push(request);
    return request;
  }

  /** Starts a stream without targets. */
  async start(shape: StreamShape = {}): Promise<S2DSRequest> {
    const request = await this.reserve(shape);
    await this.s2ds.start(request);
    return request;
  }

  /** Starts a stream of one listener with a target. Returns its uid and where to connect. */
  async startTo(
    target: Address,
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

  /** Connects and hangs up, which succeeds when somebody listens there, also one that hangs up first. */
  async knock(address: Address): Promise<void> {
    const socket = await dial(address).catch((error: unknown) => {
      // The answer of a proxy without a target may be there before anybody could say that the connection was made.
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
      await this.runtime.list({ [LABELS.owner]: 'test', ...(uid === undefined ? {} : { [LABELS.uid]: uid }) }),
    );
  }

  /** Kills the programs of a stream the hard way, as an operator or the kernel would. */
  async kill(uid: string): Promise<void> {
    const states = await this.open.another().list({ [LABELS.uid]: uid });
    assert.notEqual(states.length, 0, 'no instance carries the label of the stream');
    await Promise.all(states.map((state) => this.open.kill(state)));
  }

  /**
   * The process of the data server dies and a new one comes: what was under test until now does nothing any more, and
   * `s2ds` and `runtime` are new objects that know nothing yet.
   */
  succeed(): void {
    this.#interruptible.sever();
    this.#interruptible = new Interruptible(this.open.another());
    this.#s2ds = this.#create();
  }

  /** That nothing of any stream is left, and no port once the allocator gave it back. */
  async expectNothingLeft(): Promise<void> {
    assert.deepEqual(await this.open.leftovers(), [], 'something is left');
    assert.deepEqual(await this.runtime.list({ [LABELS.owner]: 'test' }), [], 'instances are left');
    for (const { uid, listeners, transport, node } of this.#requests.splice(0)) {
      await this.#allocator.release(uid);
      const free = node === undefined ? expectFree : expectRefused;
      await Promise.all(listeners.map(({ address }) => free(address, transport)));
    }
  }

  /** Releases every stream, checks that nothing is left, and removes the environment in any case. */
  async close(): Promise<void> {
    try {
      for (const { uid } of [...this.#requests]) await this.s2ds.release(uid);
      for (const socket of this.#clients) socket.destroy();
      for (const context of this.#contexts.splice(0)) await context.close();
      await this.expectNothingLeft();
    } finally {
      for (const socket of this.#clients) socket.destroy();
      await this.open.close();
      // After a failure ports may still be open here, and would keep the process that runs the tests from ending.
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
    const { transport, listeners } = request;
    const credentials = await testCredentials();
    const { host } = listener(request);
    const far = await this.reserve({ uid: `${request.uid}-far`, count: listeners.length, host, transport });
    return {
      near: { ...request, role: 'outbound', tls: credentials.outbound },
      far: { ...far, role: 'inbound', tls: credentials.inbound },
      credentials,
      through: await Promise.all(far.listeners.map(({ address }) => this.between(address))),
    };
  }
}

/**
 * Runs one test with a gateway of its own. Rejects with what the test threw, when it takes longer than two minutes, and when
 * a process, a file or a port is left at its end.
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

/** Address of the i-th listener of a stream. */
export function listener(request: S2DSRequest, i = 0): Address {
  const found = request.listeners[i];
  assert.ok(found, `the stream has no listener ${i}`);
  return found.address;
}

/** Asserts that work fails with the given code. */
export async function expectCode(code: ErrorCode, work: Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(SciStreamError.is(error), `${String(error)} is not a SciStreamError`);
    assert.equal(error.code, code, error.message);
    return true;
  });
}

/** Behaviour every data server must have, in words, and how to see it. */
export type ProxyCases = Readonly<Record<string, (env: ProxyEnvironment) => Promise<void>>>;

/** Cases in which sides end while the other one still carries, where `endsInTurn` makes a difference. */
export const ENDING = /carries 6|passes the end|updates under load/;
