import { SciStreamError, toSciStreamError } from '../../contracts/errors.js';
import type { Gateway, GatewayDescription } from '../../contracts/gateway.js';
import type { Logger } from '../../contracts/logger.js';

/** A data server that is up is asked this often whether it still is, ms; a lost connection is noticed at once. */
const CHECK_MS = 5_000;
/** Pauses between attempts to reach one that is down: doubled from the first to the last, ms. */
const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 10_000;

/** What the configuration of a control server says of one of its gateways beside how to reach it. */
export interface GatewayFacts {
  readonly name: string;
  /** bit/s; absent: as much as anybody asks for. */
  readonly capacity?: number | undefined;
  readonly labels?: readonly string[] | undefined;
}

/**
 * One gateway of a control server and whether its data server can be reached. An embedded one always can; a daemon may be
 * down when the control server starts, or later, and is told what to keep whenever it is back.
 */
export class GatewayLink {
  #error: SciStreamError | undefined;
  #description: GatewayDescription | undefined;
  /** Whether anything was logged about it: from then on only changes are. */
  #reported = false;
  #lost = true;
  /** Why it did not answer when it was opened. */
  #unanswered: SciStreamError | undefined;
  #closed = false;
  #wake: () => void = () => undefined;
  #following: Promise<void> = Promise.resolve();

  constructor(
    readonly facts: GatewayFacts,
    readonly gateway: Gateway,
    private readonly log: Logger,
  ) {
    this.#error = new SciStreamError('SCI_S2DS_UNREACHABLE', `Gateway ${facts.name} was not asked yet.`);
  }

  /** Whether its data server is a daemon of its own. */
  get remote(): boolean {
    return this.gateway.onLost !== undefined;
  }

  /** Why it is down; undefined while it is up. */
  get error(): SciStreamError | undefined {
    return this.#error;
  }

  /** What it last told of itself; undefined when it was never up. */
  get description(): GatewayDescription | undefined {
    return this.#description;
  }

  /** Called once, first. @throws what opening an embedded gateway raises; SCI_CONFIG_INVALID for a daemon of another name */
  async open(): Promise<void> {
    try {
      await this.gateway.open();
    } catch (error) {
      if (!this.remote || toSciStreamError(error).code === 'SCI_CONFIG_INVALID') throw error;
      this.#unanswered = toSciStreamError(error);
    }
  }

  /** Called once, after `open`; from then on it may be up. @param uids Tells its streams, now and whenever it comes back. */
  async begin(uids: () => readonly string[]): Promise<void> {
    if (this.remote) {
      this.gateway.onLost?.(() => this.recheck());
      // Not asked twice before the others are commanded.
      if (this.#unanswered) this.#report(this.#unanswered);
      else await this.#check(uids);
      this.#following = this.#follow(uids);
      return;
    }
    await this.gateway.keep(uids());
    this.#description = await this.gateway.describe();
    this.#error = undefined;
  }

  /** Has it told once more which streams it has to keep. */
  recheck(): void {
    this.#lost = true;
    // While it is down the pauses must not be cut short, or a daemon that dies at once would be asked all the time.
    if (!this.#error) this.#wake();
  }

  /** Asks it once more what it is; when it does not answer, what is known stays. */
  async refresh(): Promise<void> {
    if (this.#error) return;
    try {
      this.#description = await this.gateway.describe();
    } catch (error) {
      this.log.debug({ error: toSciStreamError(error).message }, 'gateway did not describe itself');
    }
  }

  /** Lets go of the gateway; its streams run on. Called once, last. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    await this.gateway.close();
    await this.#following;
  }

  async #follow(uids: () => readonly string[]): Promise<void> {
    let retry = FIRST_RETRY_MS;
    while (!this.#closed) {
      await this.#pause(this.#error ? retry : CHECK_MS);
      if (this.#closed) return;
      await this.#check(uids);
      retry = this.#error ? Math.min(2 * retry, LAST_RETRY_MS) : FIRST_RETRY_MS;
    }
  }

  /** Never rejects. */
  async #check(uids: () => readonly string[]): Promise<void> {
    const returned = this.#lost || this.#error !== undefined;
    this.#lost = false;
    try {
      if (returned) {
        await this.gateway.open();
        await this.gateway.keep(uids());
      }
      this.#description = await this.gateway.describe();
      this.#report(undefined);
    } catch (error) {
      this.#report(toSciStreamError(error));
    }
  }

  #report(error: SciStreamError | undefined): void {
    const changed = !this.#reported || this.#error?.code !== error?.code;
    this.#error = error;
    if (!changed || this.#closed) return;
    this.#reported = true;
    if (error) this.log.warn({ code: error.code, error: error.message }, 'gateway is down');
    else this.log.info({}, 'gateway is up');
  }

  #pause(ms: number): Promise<void> {
    // Lost between the check and this pause.
    if (this.#lost && !this.#error) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms).unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
