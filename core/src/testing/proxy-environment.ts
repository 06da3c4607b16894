import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Address, Transport } from '../address.js';
import { LABELS, type ContainerRef, type ContainerSpec } from '../container-runtime.js';
import { ProcessRuntime } from '../data/process-runtime.js';
import { RangePortAllocator } from '../data/range-port-allocator.js';
import { SciStreamError, type ErrorCode } from '../errors.js';
import { silentLogger } from '../logger.js';
import type { PluginContext } from '../plugin.js';
import type { S2DS, StreamRequest } from '../s2ds.js';
import { within } from '../wait.js';
import { dial, tcpServer, type TestServer } from './network.js';
import { temporaryDirectory, testContext, type TemporaryDirectory, type TestContext } from './support.js';
import { expectFree, kill, listeningAddresses, processesBelow } from './system.js';

/**
 * Ports below the range of ephemeral ones, a block per process, so that test files which run at the same time seldom
 * meet; where they do, the allocator skips what is in use.
 */
const BLOCK = 100;
const FIRST_PORT = 10_000 + (process.pid % 200) * BLOCK;

const LIMIT_MS = 20_000;

/** What a test asks a stream to be; one TCP listener on 127.0.0.1 when it does not say. */
export interface StreamShape {
  readonly uid?: string;
  readonly count?: number;
  readonly host?: string;
  readonly transport?: Transport;
}

/** Real processes, with a way in between "the program was started" and "it is ready". */
class InterruptibleRuntime extends ProcessRuntime {
  afterStart: (ref: ContainerRef) => Promise<void> = () => Promise.resolve();

  override async start(ref: ContainerRef, spec: ContainerSpec): Promise<void> {
    await super.start(ref, spec);
    await this.afterStart(ref);
  }
}

/** A gateway of one test: an S2DS with a runtime, ports and a directory that nobody else uses. */
export class ProxyEnvironment {
  readonly runtime: InterruptibleRuntime;
  readonly s2ds: S2DS;
  readonly #allocator = new RangePortAllocator({ first: FIRST_PORT, last: FIRST_PORT + BLOCK - 1 });
  readonly #context: TestContext;
  readonly #requests: StreamRequest[] = [];
  readonly #servers: TestServer[] = [];
  readonly #clients: Socket[] = [];

  private constructor(
    readonly directory: TemporaryDirectory,
    create: (context: PluginContext) => S2DS,
    /** Whether connections that come before their target are held. */
    readonly holds: boolean,
  ) {
    this.runtime = new InterruptibleRuntime({ directory: this.#instances, log: silentLogger });
    this.#context = testContext({ runtime: this.runtime, dataDir: join(directory.path, 'data') });
    this.s2ds = create(this.#context);
  }

  static async open(create: (context: PluginContext) => S2DS, holds: boolean): Promise<ProxyEnvironment> {
    const directory = await temporaryDirectory();
    await mkdir(join(directory.path, 'data'), { mode: 0o700 });
    return new ProxyEnvironment(directory, create, holds);
  }

  get #instances(): string {
    return join(this.directory.path, 'instances');
  }

  /** Reserves ports for a stream that has not been started. */
  async reserve(shape: StreamShape = {}): Promise<StreamRequest> {
    const { uid = randomUUID(), count = 1, host = '127.0.0.1', transport = 'tcp' } = shape;
    const listeners = await this.#allocator.allocate({ uid, host, transport, count });
    const request: StreamRequest = { uid, role: 'PROD', transport, listeners };
    this.#requests.push(request);
    return request;
  }

  /** Starts a stream without targets. */
  async start(shape: StreamShape = {}): Promise<StreamRequest> {
    const request = await this.reserve(shape);
    await this.s2ds.start(request);
    return request;
  }

  /** Starts a stream of one listener with a target. Returns its uid and where to connect. */
  async startTo(target: Address, shape: StreamShape = {}): Promise<{ uid: string; address: Address }> {
    const request = await this.start(shape);
    await this.s2ds.updateTargets(request.uid, [target]);
    return { uid: request.uid, address: listener(request) };
  }

  async server(handler: (socket: Socket) => void, host?: string): Promise<Address> {
    const server = await tcpServer(handler, host);
    this.#servers.push(server);
    return server.address;
  }

  async dial(address: Address): Promise<Socket> {
    const socket = await dial(address);
    this.#clients.push(socket);
    return socket;
  }

  /** Addresses on which the proxies of this environment accept connections, as the kernel sees it. */
  async listening(): Promise<readonly string[]> {
    return await listeningAddresses(await processesBelow(this.#instances));
  }

  /** Kills the programs of a stream the hard way, as an operator or the kernel would. */
  async kill(uid: string): Promise<void> {
    const states = await this.runtime.list({ [LABELS.uid]: uid });
    const pids = states.flatMap(({ pid }) => pid ?? []);
    assert.notEqual(pids.length, 0, 'no process carries the label of the stream');
    pids.forEach(kill);
  }

  /** That neither a process nor a file of any stream is left, and no port once the allocator gave it back. */
  async expectNothingLeft(): Promise<void> {
    assert.deepEqual(await processesBelow(this.directory.path), [], 'processes are left');
    assert.deepEqual(await this.runtime.list({}), [], 'instances are left');
    assert.deepEqual(await readdir(this.#instances, { recursive: true }).catch(() => []), [], 'files are left');
    for (const { uid, listeners, transport } of this.#requests.splice(0)) {
      await this.#allocator.release(uid);
      await Promise.all(listeners.map(({ address }) => expectFree(address, transport)));
    }
  }

  /** Releases every stream, checks that nothing is left, and removes the environment in any case. */
  async close(): Promise<void> {
    try {
      for (const { uid } of this.#requests) await this.s2ds.release(uid);
      for (const socket of this.#clients) socket.destroy();
      await this.#context.close();
      await this.expectNothingLeft();
    } finally {
      (await processesBelow(this.directory.path)).forEach(kill);
      // After a failure ports may still be open here, and would keep the process that runs the tests from ending.
      await Promise.all(this.#requests.map(({ uid }) => this.#allocator.release(uid)));
      await Promise.all(this.#servers.map((server) => server.close()));
      await this.directory.remove();
    }
  }
}

/**
 * Runs one test with a gateway of its own. Rejects with what the test threw, when it takes longer than 20 s, and when a
 * process, a port or a file is left at its end.
 * @param options.holds See `ProxyContract.holds`, default true.
 */
export async function inProxyEnvironment(
  options: { readonly create: (context: PluginContext) => S2DS; readonly holds?: boolean | undefined },
  test: (env: ProxyEnvironment) => Promise<void>,
): Promise<void> {
  const env = await ProxyEnvironment.open(options.create, options.holds ?? true);
  const [tested] = await Promise.allSettled([
    within(test(env), LIMIT_MS, () => new Error(`not done in ${LIMIT_MS} ms`)),
  ]);
  const [closed] = await Promise.allSettled([env.close()]);
  for (const result of [tested, closed]) if (result.status === 'rejected') throw result.reason;
}

/** Address of the i-th listener of a stream. */
export function listener(request: StreamRequest, i = 0): Address {
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
