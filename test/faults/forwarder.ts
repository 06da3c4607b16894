import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A gate that can be shut. Others wait until it is open. */
class Gate {
  #open: () => void = () => undefined;
  /** Settles when it is open. */
  passed: Promise<void> = Promise.resolve();

  shut(): void {
    this.open();
    this.passed = new Promise((resolve) => (this.#open = resolve));
  }

  open(): void {
    this.#open();
  }
}

/** Where to listen or connect: host and port, or the path of a unix socket. */
export type Place = { readonly host: string; readonly port: number } | { readonly path: string };

/** A connection between two programs that can be slowed down, blocked and broken. Closes at the end of its scope. */
export class Forwarder implements AsyncDisposable {
  /** Delay of each piece of data, ms. */
  delayMs = 0;
  /** How many of the next answers are dropped. Their first byte ends the connection. */
  losses = 0;
  /** How many answers were dropped. */
  lost = 0;
  /** While a gate is shut, its direction carries nothing and no end is notified, as if the network had failed. */
  readonly requests = new Gate();
  readonly answers = new Gate();
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((socket) => this.#join(socket));

  private constructor(private readonly to: Place) {}

  /** @param at port 0 takes a free one */
  static async start(at: Place, to: Place): Promise<Forwarder> {
    const forwarder = new Forwarder(to);
    forwarder.#server.listen(at);
    await once(forwarder.#server, 'listening');
    return forwarder;
  }

  /** host:port, unless it listens on a unix socket. */
  get address(): string {
    const bound = this.#server.address();
    if (bound === null || typeof bound === 'string') throw new Error('it listens on a unix socket');
    return `${bound.address}:${bound.port}`;
  }

  /** Blocks both directions. */
  unplug(): void {
    this.requests.shut();
    this.answers.shut();
  }

  plug(): void {
    this.requests.open();
    this.answers.open();
  }

  /** Ends every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.plug();
    await new Promise((done) => this.#server.close(done));
  }

  #join(near: Socket): void {
    const far = connect(this.to);
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.once('close', () => this.#sockets.delete(socket));
    }
    void this.#pump(near, far, this.requests);
    void this.#pump(far, near, this.answers);
  }

  async #pump(from: Socket, to: Socket, gate: Gate): Promise<void> {
    try {
      for await (const chunk of from) {
        if (gate === this.answers && this.losses > 0) {
          this.losses -= 1;
          this.lost += 1;
          break;
        }
        if (this.delayMs > 0) await sleep(this.delayMs);
        await gate.passed;
        to.write(chunk as Buffer);
      }
    } catch {
      // The connection broke, as intended. The code below notifies the other side.
    }
    await gate.passed;
    from.destroy();
    to.destroy();
  }
}
