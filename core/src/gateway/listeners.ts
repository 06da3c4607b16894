import { createSocket } from 'node:dgram';
import { createServer, isIPv6 } from 'node:net';
import type { Address, Transport } from '../contracts/address.js';
import { systemCode, S2DSException } from '../contracts/errors.js';
import type { ReservedListener } from '../contracts/port-allocator.js';
import { adviceFor } from '../contracts/system-errors.js';

/** Connections that the kernel queues until the proxy accepts them; net.core.somaxconn limits this. */
const BACKLOG = 1024;

/** A port of this machine: bound, or handed to a proxy. */
export class LocalListener implements ReservedListener {
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
export class RemoteListener implements ReservedListener {
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
  const suggestions = [
    code === 'EACCES'
      ? 'Use ports above 1023: key gateways[].ports'
      : ['EMFILE', 'ENFILE'].includes(code)
        ? adviceFor(host, error)
        : 'Set wan and lan of the gateway to addresses of this machine (ip address show lists them).',
  ];
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
