import { connect } from 'node:net';
import type { Flow } from './flow.js';
import { causeOf, type Cause } from './listener.js';
import type { RelayDestination, RelayTarget } from './protocol.js';
import type { TlsClient } from './secure.js';
import { adoptStream, isSelfConnected, type Leg } from './sockets.js';

/** Time after which the next address is tried while the previous attempts continue, ms (RFC 8305 §5: 250 ms). */
const STAGGER_MS = 250;

/** What a group of attempts reports: `connected` or `failed` once, and later `broken`. */
export interface AttemptEvents {
  /** The first connection. All other attempts are closed. `flow` reads it. */
  readonly connected: (leg: Leg, flow: Flow) => void;
  /** No address can be reached. @param obstacle why the last attempt failed */
  readonly failed: (obstacle: Cause) => void;
  /** The connection failed after `connected`. */
  readonly broken: () => void;
}

/**
 * One round of attempts to connect to the addresses of a target. The next address follows when an attempt fails, or after
 * 250 ms without a connection. The first connection wins, with TLS after its handshake.
 */
export class Attempts {
  readonly #waiting: RelayDestination[];
  /** Attempts in progress, or the one that won. */
  readonly #legs = new Set<Leg>();
  #won = false;
  #over = false;
  #stagger: NodeJS.Timeout | undefined;

  /**
   * @param tls Absent: the connections are not encrypted.
   * @param newFlow Makes the reader of one connection.
   */
  constructor(
    target: RelayTarget,
    private readonly tls: TlsClient | undefined,
    private readonly newFlow: () => Flow,
    private readonly events: AttemptEvents,
  ) {
    this.#waiting = [target, ...(target.fallbacks ?? [])];
  }

  /** Begins the first attempt. Call it once. */
  start(): void {
    this.#next();
  }

  /** Why the attempts in progress have not succeeded yet. */
  get obstacle(): Cause {
    return this.tls && [...this.#legs].some(({ wire }) => !wire.connecting) ? 'handshakeFailed' : 'unreachable';
  }

  /** Closes all attempts without a report. */
  cancel(): void {
    this.#over = true;
    clearTimeout(this.#stagger);
    for (const { wire } of this.#legs) wire.destroy();
  }

  #next(): void {
    clearTimeout(this.#stagger);
    const address = this.#waiting.shift();
    if (address === undefined) return;
    if (this.#waiting.length > 0) this.#stagger = setTimeout(() => this.#next(), STAGGER_MS);
    this.#connect(address);
  }

  #connect({ host, port, localAddress }: RelayDestination): void {
    const { tls } = this;
    const flow = this.newFlow();
    const wire = connect({
      host,
      port,
      ...(localAddress === undefined ? {} : { localAddress }),
      allowHalfOpen: true,
      noDelay: true,
      ...(tls ? {} : { onread: flow.onread }),
    });
    const leg = { wire, socket: tls?.secure(wire) ?? wire };
    this.#legs.add(leg);
    if (tls) adoptStream(leg, flow);
    else flow.from(leg);
    // After the TCP connection, only TLS can fail before the leg is established.
    let obstacle: Cause = 'unreachable';
    if (tls) wire.once('connect', () => (obstacle = 'handshakeFailed'));
    wire.once('error', (error) => (obstacle = obstacle === 'unreachable' ? causeOf(error) : obstacle));
    leg.socket.on('error', () => this.#failed(leg, obstacle));
    leg.socket.once('close', () => leg.socket.readableEnded || this.#failed(leg, obstacle));
    leg.socket.once(tls ? 'secureConnect' : 'connect', () => {
      if (isSelfConnected(leg)) {
        wire.destroy();
        this.#failed(leg, 'unreachable');
      } else {
        this.#connected(leg, flow);
      }
    });
  }

  #connected(leg: Leg, flow: Flow): void {
    if (this.#over || this.#won) return;
    this.#won = true;
    clearTimeout(this.#stagger);
    const losers = [...this.#legs].filter((other) => other !== leg);
    for (const loser of losers) {
      this.#legs.delete(loser);
      loser.wire.destroy();
    }
    this.events.connected(leg, flow);
  }

  #failed(leg: Leg, obstacle: Cause): void {
    if (this.#over || !this.#legs.delete(leg)) return;
    if (this.#won) this.events.broken();
    else if (this.#waiting.length > 0) this.#next();
    else if (this.#legs.size === 0) this.events.failed(obstacle);
  }
}
