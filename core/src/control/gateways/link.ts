import { SciStreamError, toSciStreamError } from '../../contracts/errors.js';
import type { Gateway, GatewayDescription } from '../../contracts/gateway.js';
import type { Logger } from '../../contracts/logger.js';
import { backOff } from '../../contracts/wait.js';

/** Interval of the health check of a gateway that is up, ms. A lost connection is noticed immediately. */
const CHECK_MS = 5_000;
/** Delay between attempts to reach a gateway that is down, ms. It doubles from the first to the last. */
const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 10_000;

/** The configuration of a gateway that concerns placement. */
export interface GatewayFacts {
  readonly name: string;
  /** bit/s; absent: not limited. */
  readonly capacity?: number | undefined;
  readonly labels?: readonly string[] | undefined;
}

/**
 * One gateway of a control server, and whether it can be reached. A gateway in this process always can. A gateway daemon may
 * be down at any time; when it comes back, it is told which streams to keep.
 */
export class GatewayLink {
  #error: SciStreamError | undefined;
  #description: GatewayDescription | undefined;
  /** Whether its first state was logged. After that, only changes are logged. */
  #reported = false;
  /** Whether the gateway has to be told again which streams to keep. */
  #lost = true;
  /** Why it did not answer to `open`. */
  #unanswered: SciStreamError | undefined;
  #closed = false;
  #wake: () => void = () => undefined;
  #following: Promise<void> = Promise.resolve();

  constructor(
    readonly facts: GatewayFacts,
    readonly gateway: Gateway,
    private readonly log: Logger,
  ) {
    this.#error = new SciStreamError('SCI_S2DS_UNREACHABLE', `Gateway ${facts.name} has not been contacted yet.`, {
      suggestions: [`Repeat the command in a few seconds. If this stays, check that s2ds runs on ${facts.name}.`],
    });
  }

  /** Whether the gateway is a daemon of its own. */
  get remote(): boolean {
    return this.gateway.onLost !== undefined;
  }

  /** Why the gateway is down; undefined while it is up. */
  get error(): SciStreamError | undefined {
    return this.#error;
  }

  /** The latest description of the gateway; undefined if it was never up. */
  get description(): GatewayDescription | undefined {
    return this.#description;
  }

  /**
   * Called once, first.
   * @throws What a gateway in this process raises; SCI_CONFIG_INVALID if the daemon has another name
   */
  async open(): Promise<void> {
    try {
      await this.gateway.open();
    } catch (error) {
      if (!this.remote || toSciStreamError(error).code === 'SCI_CONFIG_INVALID') throw error;
      this.#unanswered = toSciStreamError(error);
    }
  }

  /**
   * Called once, after `open`: connects to the gateway and follows its state from then on.
   * @param uids Returns the streams on the gateway. Called now and whenever the gateway comes back.
   */
  async begin(uids: () => readonly string[]): Promise<void> {
    if (this.remote) {
      this.gateway.onLost?.(() => this.recheck());
      // A second attempt would delay the start of the other gateways.
      if (this.#unanswered) this.#report(this.#unanswered);
      else await this.#check(uids);
      this.#following = this.#follow(uids);
      return;
    }
    await this.gateway.keep(uids());
    this.#description = await this.gateway.describe();
    this.#error = undefined;
  }

  /** Tells the gateway again which streams to keep, as soon as it can be reached. */
  recheck(): void {
    this.#lost = true;
    // While it is down the delay stays, or a daemon that dies immediately would be called continuously.
    if (!this.#error) this.#wake();
  }

  /** Updates the description. Keeps the previous one if the gateway does not answer. */
  async refresh(): Promise<void> {
    if (this.#error) return;
    try {
      this.#description = await this.gateway.describe();
    } catch (error) {
      this.log.debug({ error: toSciStreamError(error).message }, 'gateway description not updated');
    }
  }

  /** Frees the ports that a failed stream keeps. Never rejects: they are free at the end of its lifetime anyway. */
  async freePorts(uid: string): Promise<void> {
    try {
      if (this.#error) throw this.#error;
      await this.gateway.freePorts(uid);
    } catch (error) {
      this.log.warn({ uid, error: toSciStreamError(error).message }, 'ports of a failed stream not freed');
    }
  }

  /** Disconnects from the gateway. Its streams keep running. Called once, last. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    await this.gateway.close();
    await this.#following;
  }

  async #follow(uids: () => readonly string[]): Promise<void> {
    // Not `retry`: the checks continue while the gateway is up.
    for (let failures = 1; !this.#closed; failures = this.#error ? failures + 1 : 1) {
      await this.#pause(this.#error ? backOff(failures, FIRST_RETRY_MS, LAST_RETRY_MS) : CHECK_MS);
      if (this.#closed) return;
      await this.#check(uids);
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
    // The connection was lost between the check and this delay.
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
