import { createSocket } from 'node:dgram';
import { createServer, isIPv6 } from 'node:net';
import type { Address, Transport } from '../contracts/address.js';
import { systemCode, S2DSException } from '../contracts/errors.js';
import {
  formatPorts,
  type AdoptedPorts,
  type PortAllocator,
  type PortLease,
  type PortRange,
  type PortRequest,
  type ReservedListener,
} from '../contracts/port-allocator.js';
import { Queue } from '../contracts/wait.js';
import { formatCount } from '../contracts/units.js';

/** Connections that the kernel queues until the proxy accepts them; net.core.somaxconn limits this. */
const BACKLOG = 1024;

interface Lease extends PortLease {
  readonly listener: ReservedListener;
}

/**
 * Leases ports from one range. An exclusive bind (no SO_REUSEPORT) proves that a port is free, and a local proxy inherits
 * the bound socket. So no stream gets a port on which another program listens (peers.md §1.17). The search goes round the
 * range, so that a released port is reused last.
 */
export class RangePortAllocator implements PortAllocator {
  readonly #leases = new Map<number, Lease>();
  readonly #inProgress = new Map<string, Promise<readonly ReservedListener[]>>();
  readonly #queue = new Queue();
  #next: number;

  constructor(readonly range: PortRange) {
    this.#next = range.first;
  }

  allocate(request: PortRequest): Promise<readonly ReservedListener[]> {
    const known = this.#inProgress.get(request.uid);
    if (known) return known;
    // One at a time: two requests that each hold half of the free ports would both fail.
    const leasing = this.#queue
      .run(() => this.#allocate(request))
      .catch((error: unknown) => {
        this.#inProgress.delete(request.uid);
        throw error;
      });
    this.#inProgress.set(request.uid, leasing);
    return leasing;
  }

  adopt({ uid, transport, addresses, remote }: AdoptedPorts): readonly ReservedListener[] {
    const listeners = addresses.map((address) => {
      const listener = remote ? new RemoteListener(address) : new LocalListener(address, transport);
      this.#leases.set(address.port, { uid, ...address, listener });
      return listener;
    });
    this.#inProgress.set(uid, Promise.resolve(listeners));
    return listeners;
  }

  async release(uid: string): Promise<void> {
    await this.#inProgress.get(uid)?.catch(() => undefined);
    const mine = this.inUse().filter((lease) => lease.uid === uid);
    await Promise.all(mine.map(({ port }) => this.#giveBack(port)));
    this.#inProgress.delete(uid);
  }

  inUse(): readonly Lease[] {
    return [...this.#leases.values()];
  }

  async #allocate(request: PortRequest): Promise<readonly ReservedListener[]> {
    const got: Lease[] = [];
    let taken = 0;
    try {
      for (let tried = 0; tried < this.#size && got.length < request.count; tried += 1) {
        const port = this.#advance();
        if (this.#leases.has(port)) continue;
        const lease = await this.#lease(request, port);
        if (lease) got.push(lease);
        else taken += 1;
      }
      if (got.length < request.count) throw this.#exhausted(request, got.length, taken);
      return got.map(({ listener }) => listener);
    } catch (error) {
      await Promise.all(got.map(({ port }) => this.#giveBack(port)));
      throw error;
    }
  }

  /** Leases a port; undefined when another program uses it. */
  async #lease({ uid, host, transport, remote }: PortRequest, port: number): Promise<Lease | undefined> {
    const listener = remote ? new RemoteListener({ host, port }) : new LocalListener({ host, port }, transport);
    try {
      await listener.bind();
    } catch (error) {
      if (S2DSException.is(error) && error.code === 'SCI_PORT_TAKEN') return undefined;
      throw error;
    }
    const lease = { uid, host, port, listener };
    this.#leases.set(port, lease);
    return lease;
  }

  async #giveBack(port: number): Promise<void> {
    const lease = this.#leases.get(port);
    if (!lease) return;
    await lease.listener.close();
    this.#leases.delete(port);
  }

  get #size(): number {
    return this.range.last - this.range.first + 1;
  }

  #advance(): number {
    const port = this.#next;
    this.#next = port >= this.range.last ? this.range.first : port + 1;
    return port;
  }

  #exhausted({ count }: PortRequest, got: number, taken: number): S2DSException {
    const leased = this.#leases.size - got;
    return new S2DSException(
      'SCI_PORTS_EXHAUSTED',
      `${formatCount(count, 'port')} requested, but of the ${formatCount(this.#size, 'port')} ${formatPorts(this.range)}, streams lease ${leased} and other programs use ${taken}.`,
      {
        suggestions: [
          'Release streams that are no longer needed: scistream stream ls',
          'Extend the port range: key gateways[].ports',
        ],
      },
    );
  }
}

/** A port of this machine: bound, or handed to a proxy. */
class LocalListener implements ReservedListener {
  /** The socket while the port is bound. */
  #socket: Promise<Bound> | undefined;
  fd?: number;

  constructor(
    readonly address: Address,
    private readonly transport: Transport,
  ) {}

  async bind(): Promise<void> {
    const { host, port } = this.address;
    this.#socket ??= this.transport === 'tcp' ? bindTcp(this.address) : bindUdp(this.address);
    try {
      const { fd } = await this.#socket;
      if (fd !== undefined) this.fd = fd;
    } catch (cause) {
      this.#socket = undefined;
      if (systemCode(cause) !== 'EADDRINUSE') throw bindError(host, port, cause);
      const message = `Another program uses port ${port} on ${host}.`;
      throw new S2DSException('SCI_PORT_TAKEN', message, {
        cause,
        suggestions: ['Release the stream and create it again.'],
      });
    }
  }

  async close(): Promise<void> {
    const socket = this.#socket;
    this.#socket = undefined;
    delete this.fd;
    await (await socket)?.close();
  }
}

/** A port of another machine. */
class RemoteListener implements ReservedListener {
  constructor(readonly address: Address) {}

  bind(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

interface Bound {
  readonly fd?: number;
  readonly close: () => Promise<void>;
}

function bindError(host: string, port: number, error: unknown): S2DSException {
  const code = systemCode(error) ?? 'unknown error';
  const suggestions =
    code === 'EACCES'
      ? ['Use ports above 1023: key gateways[].ports']
      : ['Set wan and lan of the gateway to addresses of this machine (ip address show lists them).'];
  return new S2DSException('SCI_LISTENER_ADDRESS', `Cannot listen on ${host} port ${port}: ${code}.`, {
    suggestions,
    cause: error,
  });
}

function bindTcp({ host, port }: Address): Promise<Bound> {
  return new Promise((resolve, reject) => {
    // No client knows the port before the proxy accepts on it; closes connections from scanners.
    const server = createServer((stranger) => stranger.destroy());
    server.once('error', reject);
    server.listen({ host, port, exclusive: true, backlog: BACKLOG }, () => {
      // A failed accept (EMFILE) affects one connection; without this handler it would end the process.
      server.on('error', () => undefined);
      const close = (): Promise<void> => new Promise((done) => void server.close(() => done()));
      const fd = descriptorOf(server);
      resolve({ close, ...(fd === undefined ? {} : { fd }) });
    });
  });
}

function bindUdp({ host, port }: Address): Promise<Bound> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    socket.once('error', (error) => {
      // Unlike a server, the socket stays open after an error.
      socket.close();
      reject(error);
    });
    socket.bind({ address: host, port, exclusive: true }, () => {
      resolve({ close: () => new Promise((done) => void socket.close(() => done())) });
    });
  });
}

/** Node.js has no public API for the descriptor of a server. Without a descriptor, the proxy binds the port. */
function descriptorOf(server: object): number | undefined {
  const fd = (server as { _handle?: { fd?: number } })._handle?.fd;
  return fd !== undefined && fd >= 0 ? fd : undefined;
}
