import { EventEmitter, once } from 'node:events';
import { formatAddress, type Address } from '../../contracts/address.js';
import { messageOf, SciStreamError, toSciStreamError } from '../../contracts/errors.js';
import type { Gateway } from '../../contracts/gateway.js';
import type { Logger } from '../../contracts/logger.js';
import type { StoreOptions, StreamStore } from '../../contracts/stream-store.js';
import { isFinal, type StreamEvent, type StreamRecord, type StreamTls } from '../../contracts/stream.js';
import { KeyedLock, within } from '../../contracts/wait.js';
import type { GatewayLoad } from '../gateways/pool.js';
import { helloTimeout, released, wrongState } from './errors.js';
import { happened } from './events.js';
import { StreamMover, type Placing } from './move.js';
import { StreamTimer } from './timer.js';
import { watchProxy } from './watch.js';

/** After a clean-up that failed, ms: who asked for it may not ask again. */
const CLEANUP_RETRY_MS = 10_000;
/** Until a gateway is asked again about an update whose end it could not tell, ms. */
const SETTLE_RETRY_MS = 3_000;
/** How long the end of the daemon waits for a gateway that does not answer, ms; the next one repeats the call. */
const DETACH_MS = 10_000;

/** What a machine needs of the control server it belongs to. */
export interface MachineParts {
  readonly store: StreamStore;
  /** Where the streams of a gateway are commanded. @throws SCI_CONFIG_INVALID when there is none of that name */
  readonly gatewayOf: (name: string) => Gateway;
  readonly log: Logger;
  readonly helloTimeoutMs: number;
  /** A gateway may have something of a stream for which nobody will ask again. */
  readonly onStray: (gateway: string) => void;
  /** Called once, when nothing can happen to the stream any more. */
  readonly onEnd: (uid: string) => void;
}

/**
 * The life of one stream on this control server (protocol.md §3):
 * reserving → waiting (for HELLO) → provisioned → updating ⇄ active → releasing → released, or failed.
 * There is one machine per uid and nothing that two of them share, so streams cannot disturb each other. Changes of one
 * stream come one after another; only `release` overtakes, by aborting what is under way.
 */
export class StreamMachine {
  readonly #changes = new EventEmitter({ captureRejections: false });
  /** Why it is released, once it is. */
  #over: SciStreamError | undefined;
  /** Interrupts the call of the data server that is under way. */
  #interrupt: ((reason: SciStreamError) => void) | undefined;
  readonly #lock = new KeyedLock();
  /** Settles when the listeners are reserved, or could not be. */
  #reserved: Promise<void> = Promise.resolve();
  readonly #greeted: Promise<void>;
  #greet: () => void = () => undefined;
  /** Whether a `req` waits for HELLO. */
  #awaited = false;
  #resumed = false;
  /** Whether the store has the record. */
  #stored = false;
  /** The daemon ends, and the stream goes on without it. */
  #detached = false;
  readonly #lifetime = new StreamTimer();
  #helloTimer: NodeJS.Timeout | undefined;
  readonly #settling = new StreamTimer();
  readonly #moves: StreamMover;
  /** Ends the waiting `req`. */
  #abandon: (reason: SciStreamError) => void = () => undefined;
  #record: StreamRecord;

  /** @param record As the request asks for it, state `reserving`; or of an earlier process, for `resume`. */
  constructor(
    record: StreamRecord,
    private readonly parts: MachineParts,
  ) {
    this.#record = record;
    this.#changes.setMaxListeners(0);
    const { log, gatewayOf, onStray } = parts;
    this.#moves = new StreamMover({
      record: () => this.#record,
      gatewayOf,
      onStray,
      log,
      interruptible: (call) => this.#interruptible(call),
      change: (change, event) => this.#change(change, event),
      serial: (work) => this.#serial(work),
    });
    this.#greeted = new Promise((resolve) => (this.#greet = resolve));
    this.#lifetime.until(record.expiresAt, () => this.#expire());
  }

  /** Stores the record and reserves listeners. Called once, or `resume` is. */
  begin(tls: StreamTls | undefined): void {
    this.#reserved = this.#serial(() => this.#reserve(tls));
    this.#reserved.catch(() => undefined);
  }

  /**
   * Goes on where an earlier process of this control server left the stream, which the data server has charge of. It may take
   * minutes where that does not answer.
   */
  async resume(): Promise<void> {
    const { uid, state, createdAt, error } = this.#record;
    this.#resumed = true;
    this.#stored = true;
    if (state === 'reserving') {
      return await this.#fail(
        new SciStreamError('SCI_SHUTTING_DOWN', `The control server ended while it reserved ${uid}.`),
      );
    }
    if (state === 'releasing') {
      return await this.#fail(error ? new SciStreamError(error.code, error.message, error) : released(uid));
    }
    if (state === 'waiting') {
      return this.#awaitHello(Date.parse(createdAt) + this.parts.helloTimeoutMs - Date.now());
    }
    await this.parts.store.note(uid, happened('adopted', undefined, 'after a restart of the control server'));
    this.#greet();
    this.#watch();
    this.#moves.lookBack();
    if (state === 'updating') await this.#serial(() => this.#settleUpdate());
  }

  /** Whether its `req` was lost with an earlier process, so that the client may send it again. */
  get lostRequest(): boolean {
    return this.#resumed && !this.#awaited;
  }

  /** Leaves the stream as it is: ends the waiting `req` and every timer, and lets the call in progress finish, for a while. */
  async detach(reason: SciStreamError): Promise<void> {
    this.#detached = true;
    this.#abandon(reason);
    const finished = this.#serial(() => Promise.resolve());
    await within(finished, DETACH_MS, () => new Error('late')).catch((error: unknown) => {
      this.parts.log.warn({ uid: this.#record.uid, error: messageOf(error) }, 'a call to its gateway is given up');
    });
    this.#lifetime.stop();
    clearTimeout(this.#helloTimer);
    this.#settling.stop();
    this.#moves.stop();
  }

  /** What it takes of its gateway, also while that has not answered yet; and of the one it goes to, or has left. */
  get loads(): readonly GatewayLoad[] {
    const { uid, gateway, spec, expiresAt } = this.#record;
    const here = { uid, gateway, ports: spec.connections, bitsPerSecond: spec.bitsPerSecond, expiresAt };
    return [here, ...this.#moves.gateways.map((other) => ({ ...here, gateway: other }))];
  }

  /** The record as it is stored now. */
  get record(): StreamRecord {
    return this.#record;
  }

  /** Settles at the next change of the record, or rejects when `signal` aborts. */
  async changed(signal: AbortSignal): Promise<void> {
    await once(this.#changes, 'change', { signal }).catch(() => signal.throwIfAborted());
  }

  /**
   * What `req` does: waits until the listeners are reserved and HELLO has come.
   * @param client Aborts when the caller went away; then everything is released.
   * @throws SCI_HELLO_TIMEOUT, SCI_CLIENT_GONE, SCI_STREAM_RELEASED, or why the reservation failed.
   */
  async untilHello(client: AbortSignal): Promise<StreamRecord> {
    const { uid } = this.#record;
    this.#awaited = true;
    this.#awaitHello(this.parts.helloTimeoutMs);
    const interrupted = new Promise<never>((_resolve, reject) => (this.#abandon = reject));
    const gone = (): void =>
      this.#abandon(new SciStreamError('SCI_CLIENT_GONE', `The client of stream ${uid} went away before HELLO.`));
    if (this.#over) this.#abandon(this.#over);
    if (client.aborted) gone();
    client.addEventListener('abort', gone, { once: true });
    try {
      await Promise.race([this.#reserved.then(() => this.#greeted), interrupted]);
      return this.#record;
    } catch (error) {
      if (!this.#detached) await this.#fail(toSciStreamError(error));
      throw error;
    } finally {
      this.#awaited = false;
      clearTimeout(this.#helloTimer);
      // The stream lives for days, and what it holds on to of the call would live with it: request, response and client.
      client.removeEventListener('abort', gone);
      this.#abandon = () => undefined;
    }
  }

  /**
   * Starts the proxy and ends the wait of `req`. A repeated HELLO changes nothing.
   * @param announced Where the application listens; empty for a consumer.
   * @throws Why the proxy did not start; the stream is released then.
   */
  async hello(announced: readonly Address[], by: string): Promise<StreamRecord> {
    await this.#reserved;
    try {
      await this.#serial(async () => {
        if (this.#record.state !== 'waiting') return this.#mustLive('HELLO');
        clearTimeout(this.#helloTimer);
        const { uid } = this.#record;
        await this.#interruptible((signal) => this.#gateway.start(uid, signal));
        this.#watch();
        const detail = announced.map(formatAddress).join(' ');
        await this.#change({ state: 'provisioned', announced }, happened('hello', by, detail));
        // Released meanwhile, and that waits behind this: a HELLO must not be accepted when its `req` is refused.
        if (this.#over) throw this.#over;
        this.#greet();
      });
      return this.#record;
    } catch (error) {
      await this.#fail(toSciStreamError(error));
      throw error;
    }
  }

  /**
   * Sets the targets. When it throws, the old ones stay in force: data that flows is never cut by a failed UPDATE. Where the
   * gateway did not answer, the stream stays `updating` until it does, and the old ones are set again then.
   * @throws SCI_STREAM_STATE before HELLO, SCI_STREAM_FAILED, or what the data server raised.
   */
  async update(targets: readonly Address[], by: string): Promise<StreamRecord> {
    await this.#serial(async () => {
      const { uid, state, asked = [] } = this.#record;
      this.#mustLive('UPDATE');
      if (state === 'reserving' || state === 'waiting') throw wrongState(this.#record, 'UPDATE', 'Say HELLO first.');
      await this.#change({ state: 'updating', asked: targets });
      let told = false;
      try {
        await this.#setTargets(uid, targets);
        told = true;
        await this.#nowInForce(targets, by);
      } catch (error) {
        // Where it did not answer, nobody knows whether it has them, and it may put them in force whenever it comes back.
        const unsure = told || toSciStreamError(error).code === 'SCI_S2DS_UNREACHABLE';
        if (unsure || !(await this.#restore({ state, asked }))) this.#settleLater();
        throw error;
      }
      await this.#moves.retarget(targets);
    });
    return this.#record;
  }

  /**
   * Goes to another gateway: one change of the record, once the stream forwards there. Whatever fails before leaves it as it
   * is. What is open on the old gateway may stay there for a while.
   * @param graceMs How long at most.
   * @throws SCI_STREAM_STATE, SCI_NO_RESOURCE, or what one of the gateways raised
   */
  async move(place: Placing, graceMs: number, by: string): Promise<StreamRecord> {
    await this.#serial(async () => {
      await this.#moves.move(place, graceMs, by);
      this.#watch();
    });
    return this.#record;
  }

  /** @returns whether it could be written */
  #restore(before: Pick<StreamRecord, 'state' | 'asked'>): Promise<boolean> {
    return this.#change(before).then(
      () => true,
      () => false,
    );
  }

  async #nowInForce(targets: readonly Address[], by: string | undefined, how = ''): Promise<void> {
    const inForce = this.#record.listeners.flatMap((_, i) => targets[i % targets.length] ?? []);
    const detail = `${targets.map(formatAddress).join(' ')}${how}`;
    await this.#change({ state: 'active', targets: inForce }, happened('targets', by, detail));
  }

  /**
   * Ends the stream and gives everything back. Idempotent. When it throws, it is tried again until nothing is left.
   * @param reason Why a `req` that still waits fails, and for the record when it was an error. The first one counts.
   */
  async release(reason: SciStreamError, by?: string): Promise<StreamRecord> {
    const first = (this.#over ??= reason);
    this.#interrupt?.(first);
    this.#abandon(first);
    try {
      await this.#serial(() => this.#release(first, by));
    } catch (error) {
      if (!this.#detached) this.#lifetime.after(CLEANUP_RETRY_MS, () => void this.#fail(first));
      throw error;
    }
    return this.#record;
  }

  /**
   * Nobody was told of the end of an update in which an earlier process died or the gateway was lost, and the gateway may have
   * got the new targets or not. It is taken back; the first one, before which there were none, is carried out. Where neither can be done now
   * the stream stays `updating`, and that is tried again, or the next update settles it.
   */
  async #settleUpdate(): Promise<void> {
    const { uid, targets, asked = [] } = this.#record;
    const wanted = targets.length > 0 ? targets : asked;
    try {
      if (wanted.length > 0) await this.#setTargets(uid, wanted);
      if (targets.length > 0 || wanted.length === 0) {
        await this.#change({ state: targets.length > 0 ? 'active' : 'provisioned' });
      } else {
        await this.#nowInForce(wanted, undefined, ', by an update that was interrupted');
      }
    } catch (error) {
      this.parts.log.warn({ uid, error: messageOf(error) }, 'targets could not be set again yet');
      this.#settleLater();
    }
  }

  #settleLater(): void {
    const settle = async (): Promise<void> => {
      const over = this.#detached || this.#over;
      if (!over && this.#record.state === 'updating') await this.#settleUpdate();
    };
    this.#settling.after(SETTLE_RETRY_MS, () => void this.#serial(settle));
  }

  #setTargets(uid: string, targets: readonly Address[]): Promise<void> {
    return this.#interruptible((signal) => this.#gateway.updateTargets(uid, targets, signal));
  }

  /** With a signal as long as the call takes: Node.js needs 1.5 kB for one, and a stream lives for days. */
  async #interruptible<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const abort = new AbortController();
    this.#interrupt = (reason) => abort.abort(reason);
    if (this.#over) abort.abort(this.#over);
    try {
      return await call(abort.signal);
    } finally {
      this.#interrupt = undefined;
    }
  }

  async #reserve(tls: StreamTls | undefined): Promise<void> {
    await this.parts.store.create(this.#record, happened('requested', this.#record.owner));
    this.#stored = true;
    const reservation = await this.#gateway.reserve(this.#record.uid, this.#record.spec, tls);
    const detail = reservation.listeners.map(formatAddress).join(' ');
    await this.#change({ state: 'waiting', ...reservation }, happened('reserved', undefined, detail));
  }

  async #release(reason: SciStreamError, by: string | undefined): Promise<void> {
    if (isFinal(this.#record.state)) return;
    const { uid } = this.#record;
    clearTimeout(this.#helloTimer);
    if (!this.#stored) return this.#forget();
    const failed = reason.code !== 'SCI_STREAM_RELEASED';
    const error = failed ? { error: reason.toJSON() } : {};
    await this.#change({ state: 'releasing', ...error }, undefined, { owed: true });
    const final = await this.#gateway.release(uid);
    const stray = await this.#moves.release();
    this.#lifetime.stop();
    const state = failed ? 'failed' : 'released';
    await this.#change({ state, final, leaving: undefined }, happened(state, by, reason.message), { owed: true });
    this.parts.log.info({ uid, state: this.#record.state, reason: reason.code }, 'stream ended');
    this.parts.onEnd(uid);
    // Not before: until then the stream counts among those that the gateway has to keep.
    if (stray !== undefined) this.parts.onStray(stray);
  }

  /** Nothing is reserved for what could not be written. */
  #forget(): void {
    this.#lifetime.stop();
    this.#record = { ...this.#record, state: 'failed' };
    this.#changes.emit('change');
    this.parts.onEnd(this.#record.uid);
  }

  /** Notices when the proxy ends by itself, for a while or for good. */
  #watch(): void {
    const here = this.#gateway;
    watchProxy(here, {
      record: () => this.#record,
      over: () => this.#detached || here !== this.#gateway,
      log: this.parts.log,
      change: (change, event, options) => this.#change(change, event, options),
      serial: (work) => this.#serial(work),
      fail: (reason) => this.#fail(reason),
    });
  }

  #awaitHello(ms: number): void {
    clearTimeout(this.#helloTimer);
    const over = (): void => {
      const late = helloTimeout(this.#record.uid, this.parts.helloTimeoutMs);
      if (this.#awaited) this.#abandon(late);
      else void this.#fail(late);
    };
    this.#helloTimer = setTimeout(over, Math.max(0, ms));
  }

  /** Releases because of `reason`, which matters more than what goes wrong on the way. Never rejects. */
  async #fail(reason: SciStreamError): Promise<void> {
    await this.release(reason).catch((error: unknown) => {
      this.parts.log.error({ uid: this.#record.uid, error: messageOf(error) }, 'stream could not be cleaned up yet');
    });
  }

  #expire(): void {
    this.parts.log.info({ uid: this.#record.uid }, 'lifetime is over');
    void this.#fail(new SciStreamError('SCI_STREAM_RELEASED', `The lifetime of stream ${this.#record.uid} is over.`));
  }

  async #change(change: Partial<StreamRecord>, event?: StreamEvent, options?: StoreOptions): Promise<void> {
    const { uid, version } = this.#record;
    this.#record = await this.parts.store.update(uid, version, change, event, options);
    this.parts.log.debug({ uid: this.#record.uid, state: this.#record.state }, 'stream changed');
    this.#changes.emit('change');
  }

  #mustLive(message: string): void {
    const { state, uid, error } = this.#record;
    if (state === 'failed')
      throw new SciStreamError('SCI_STREAM_FAILED', `Stream ${uid} has failed: ${error?.message ?? ''}`);
    if (state === 'released' || state === 'releasing') throw wrongState(this.#record, message, 'Make a new stream.');
  }

  get #gateway(): Gateway {
    return this.parts.gatewayOf(this.#record.gateway);
  }

  #serial<T>(work: () => Promise<T>): Promise<T> {
    return this.#lock.run('', work);
  }
}
