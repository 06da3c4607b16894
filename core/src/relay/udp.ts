import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket, SocketOptions } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { causeOf, countFailure, countReached, newCounters, sameAddress, type Listener } from './listener.js';
import type { RelayAddress, RelayTarget } from './protocol.js';
import { SessionQuota } from './session-quota.js';
import type { Sources } from './sources.js';

const MAX_SESSIONS = 4096;
/** Datagrams of a session that are held until its socket is connected. */
const MAX_EARLY = 64;
/** Requested receive buffer of the kernel, which the system may limit, and maximum bytes in the send queue. */
const BUFFER_BYTES = 4 * 1024 * 1024;

/** One client and its own socket, connected to the target, so that replies and ICMP errors belong to this client. */
interface Session {
  readonly socket: Socket;
  /** Address of the client. */
  readonly source: string;
  readonly target: RelayTarget;
  /** Datagrams that wait for the socket to connect. Undefined after it has connected. */
  early: Buffer[] | undefined;
  usedAt: number;
}

/** Returns the key of a client or listener. */
export const keyOf = ({ host, port }: RelayAddress): string => `${port}@${host}`;

/** Forwards datagrams between clients and the current target. Counts a datagram that it cannot forward as an error. */
export class UdpListener implements Listener {
  readonly counters = newCounters();
  readonly #address: RelayAddress;
  readonly #sessionMs: number;
  readonly #socket: Socket;
  /** Key: `port@address` of the client. The longest idle session is first. */
  readonly #sessions = new Map<string, Session>();
  readonly #quota = new SessionQuota();
  #target: RelayTarget | undefined;

  /**
   * @param sessionMs Idle time after which a session is closed, ms.
   * @param own Keys of all listeners of the worker. A datagram from one of them is forged, or in a loop.
   * @param sources Networks of the accepted clients. Absent: all.
   */
  constructor(
    address: RelayAddress,
    sessionMs: number,
    private readonly own: ReadonlySet<string>,
    private readonly sources?: Sources,
  ) {
    this.#address = address;
    this.#sessionMs = sessionMs;
    this.#socket = newSocket(address.host);
  }

  listen(): Promise<void> {
    const { host, port } = this.#address;
    return new Promise((resolve, reject) => {
      this.#socket.once('error', reject);
      this.#socket.bind({ address: host, port, exclusive: true }, () => {
        this.#socket.off('error', reject);
        this.#socket.on('error', () => (this.counters.errors += 1));
        this.#socket.on('message', (data, client) => this.#fromClient(data, client));
        setInterval(() => this.#expire(), Math.max(20, Math.min(this.#sessionMs / 10, 1000)));
        resolve();
      });
    });
  }

  retarget(target: RelayTarget | undefined): void {
    if (!sameAddress(target, this.#target)) this.counters.unreachableNow = 0;
    this.#target = target;
  }

  #fromClient(data: Buffer, client: RemoteInfo): void {
    const key = keyOf({ host: client.address, port: client.port });
    let session = this.#sessions.get(key);
    // A client with a session was accepted before.
    if (!session && (this.own.has(key) || this.sources?.allow(client.address) === false)) {
      this.counters.refused += 1;
      return;
    }
    this.counters.bytesIn += data.length;
    const target = this.#target;
    if (target === undefined) {
      this.counters.errors += 1;
      return;
    }
    if (session && !sameAddress(session.target, target)) {
      this.#close(key, session);
      session = undefined;
    }
    if (!session && !this.#quota.take(client.address)) {
      countFailure(this.counters, 'limitReached');
      return;
    }
    session ??= this.#open(key, client, target);
    this.#touch(key, session);
    if (session.early === undefined) this.#send(session.socket, data);
    else if (session.early.length < MAX_EARLY) session.early.push(data);
    else this.counters.errors += 1;
  }

  #open(key: string, client: RemoteInfo, target: RelayTarget): Session {
    for (const [oldest, idle] of this.#sessions) {
      if (this.#sessions.size < MAX_SESSIONS) break;
      this.#close(oldest, idle);
    }
    const socket = newSocket(target.host);
    const session: Session = { socket, source: client.address, target, early: [], usedAt: 0 };
    // An error before the connect (EMFILE, no route) ends the session. Later errors come from ICMP.
    socket.on('error', (error) => {
      countFailure(this.counters, causeOf(error));
      if (session.early !== undefined) this.#close(key, session);
    });
    socket.on('message', (data) => {
      this.counters.bytesOut += data.length;
      countReached(this.counters);
      this.#touch(key, session);
      this.#send(this.#socket, data, client);
    });
    if (target.localAddress !== undefined) socket.bind({ address: target.localAddress, exclusive: true });
    socket.connect(target.port, target.host, (error?: Error) => {
      if (this.#sessions.get(key) !== session) return;
      if (error) {
        socket.emit('error', error);
        return;
      }
      this.counters.established += 1;
      const early = session.early ?? [];
      session.early = undefined;
      for (const data of early) this.#send(socket, data);
    });
    this.counters.connections += 1;
    this.counters.open += 1;
    return session;
  }

  #send(socket: Socket, data: Buffer, client?: RemoteInfo): void {
    if (socket.getSendQueueSize() > BUFFER_BYTES) {
      this.counters.errors += 1;
      return;
    }
    const sent = (error: Error | null): void => {
      // A connected socket also reports ICMP errors here.
      if (error) countFailure(this.counters, client ? undefined : causeOf(error));
    };
    if (client) socket.send(data, client.port, client.address, sent);
    else socket.send(data, sent);
  }

  /** Moves the session to the end of the map, which is in the order of the idle time. */
  #touch(key: string, session: Session): void {
    session.usedAt = performance.now();
    this.#sessions.delete(key);
    this.#sessions.set(key, session);
  }

  #expire(): void {
    const before = performance.now() - this.#sessionMs;
    for (const [key, session] of this.#sessions) {
      if (session.usedAt > before) break;
      this.#close(key, session);
    }
    this.#quota.clean();
  }

  #close(key: string, session: Session): void {
    if (this.#sessions.get(key) !== session) return;
    this.#sessions.delete(key);
    this.counters.open -= 1;
    this.#quota.give(session.source);
    session.socket.removeAllListeners('message');
    session.socket.close();
  }
}

function newSocket(host: string): Socket {
  const options: SocketOptions = {
    type: isIPv6(host) ? 'udp6' : 'udp4',
    recvBufferSize: BUFFER_BYTES,
    // Addresses are literals. A synchronous lookup saves a turn of the event loop per datagram.
    lookup: (address, _options, callback) => callback(null, address, isIPv6(address) ? 6 : 4),
  };
  return createSocket(options);
}
