import { formatAddress, type Address, type Target } from '../../contracts/address.js';
import { messageOf, SciStreamError, toSciStreamError } from '../../contracts/errors.js';
import { uidForOwner, type StreamRecord, type StreamTls } from '../../contracts/stream.js';
import type { GatewayLoad } from '../gateways/pool.js';
import { released } from './life.js';
import { happened, LiveStream, StreamTimer, type StreamParts } from './live-stream.js';
import { StreamMover, type Placing } from './move.js';
import { asReserved } from './new-stream.js';
import { PendingRequest } from './pending-request.js';
import { PendingUpdate } from './pending-update.js';
import { watchProxy } from './watch.js';

/** Delay before a failed release is retried, ms. */
const RELEASE_RETRY_MS = 10_000;

/**
 * One stream on this control server, from request to release. The table in life.ts gives the effect of each event in each
 * state. Changes of one stream run one after another, except `release`, which interrupts the gateway call in progress.
 */
export class StreamMachine {
  readonly #stream: LiveStream;
  readonly #request: PendingRequest;
  readonly #update: PendingUpdate;
  readonly #moves: StreamMover;
  /** The end of the lifetime; after a failed release the next try. */
  readonly #lifetime = new StreamTimer();
  /** Settles when the listeners are reserved, or the reservation has failed. */
  #reserved: Promise<void> = Promise.resolve();
  #resumed = false;

  /** @param record Of a new request, for `begin`; or of an earlier process, for `resume`. */
  constructor(
    record: StreamRecord,
    private readonly parts: StreamParts,
  ) {
    this.#stream = new LiveStream(record, parts);
    this.#request = new PendingRequest(uidForOwner(record), parts.helloTimeoutMs, (late) => void this.#fail(late));
    this.#update = new PendingUpdate(this.#stream);
    this.#moves = new StreamMover(this.#stream, () => this.#watch());
    this.#lifetime.until(record.expiresAt, () => this.#expire());
  }

  /** The record as stored. */
  get record(): StreamRecord {
    return this.#stream.record;
  }

  /** What the stream takes on its gateway, and on the ones that it moves to or leaves. */
  get loads(): readonly GatewayLoad[] {
    const { uid, gateway, spec, expiresAt } = this.record;
    const here = { uid, gateway, ports: spec.connections, bitsPerSecond: spec.bitsPerSecond, expiresAt };
    return [here, ...this.#moves.gateways.map((other) => ({ ...here, gateway: other }))];
  }

  /** Whether the request was lost with an earlier process, so that the client may repeat it. */
  get lostRequest(): boolean {
    return this.#resumed && !this.#request.waiting && !this.#stream.over;
  }

  /** Settles at the next change of the record. @param signal Its abort rejects the promise. */
  async changed(signal: AbortSignal): Promise<void> {
    await this.#stream.changed(signal);
  }

  /**
   * Stores the record and reserves the listeners. Called once, unless `resume` is.
   * @param tls Credentials, where the spec asks for encryption.
   */
  begin(tls: StreamTls | undefined): void {
    this.#reserved = this.#stream.serial(() => this.#reserve(tls));
    this.#reserved.catch(() => undefined);
  }

  async #reserve(tls: StreamTls | undefined): Promise<void> {
    await this.#stream.create(happened('requested', this.record.owner));
    const { uid, spec } = this.record;
    const reservation = await this.#stream.gateway.reserve(uid, spec, tls);
    const note = happened('reserved', undefined, reservation.listeners.map(formatAddress).join(' '));
    await this.#stream.apply('reserved', {}, { change: asReserved(this.record, reservation), note });
  }

  /**
   * Recovers the stream after a restart of the control server. The stream has run on its gateway since. May take minutes if
   * the gateway does not answer.
   */
  async resume(): Promise<void> {
    const { createdAt, error } = this.record;
    this.#resumed = true;
    this.#stream.markStored();
    await this.#stream.apply('resume', {
      fail: () => this.#fail(new SciStreamError('SCI_SHUTTING_DOWN', 'The control server stopped while reserving.')),
      awaitHello: () => this.#request.startTimeout(Date.parse(createdAt) + this.parts.helloTimeoutMs - Date.now()),
      recover: () => this.#recover(),
      recoverUpdate: async () => {
        await this.#recover();
        await this.#stream.serial(() => this.#update.settle());
      },
      release: () =>
        this.#fail(error ? new SciStreamError(error.code, error.message, error) : released(uidForOwner(this.record))),
    });
  }

  async #recover(): Promise<void> {
    const note = happened('recovered', undefined, 'after a restart of the control server');
    await this.parts.store.note(this.record.uid, note);
    this.#request.answer();
    this.#watch();
    this.#moves.checkPrevious();
  }

  /**
   * Waits until the listeners are reserved and HELLO has arrived: what `req` does.
   * @param client Aborts when the caller disconnects; the stream is released then.
   * @throws SCI_HELLO_TIMEOUT, SCI_CLIENT_GONE, SCI_STREAM_RELEASED, or why the reservation failed
   */
  async untilHello(client: AbortSignal): Promise<StreamRecord> {
    try {
      const answer = this.#request.wait(this.#reserved, client);
      if (this.#stream.over) this.#request.abandon(this.#stream.over);
      await answer;
      return this.record;
    } catch (error) {
      if (!this.#stream.detached) await this.#fail(toSciStreamError(error));
      throw error;
    }
  }

  /**
   * Starts the proxy and answers the request. A repeated HELLO changes nothing.
   * @param announced Where the application listens; empty for a consumer.
   * @throws Why the proxy did not start; the stream is released then.
   */
  async hello(announced: readonly Address[], by: string): Promise<StreamRecord> {
    await this.#reserved;
    try {
      await this.#stream.serial(() => this.#stream.apply('hello', { start: () => this.#start(announced, by) }));
      return this.record;
    } catch (error) {
      await this.#fail(toSciStreamError(error));
      throw error;
    }
  }

  async #start(announced: readonly Address[], by: string): Promise<void> {
    this.#request.stop();
    await this.#stream.interruptible((signal) => this.#stream.gateway.start(this.record.uid, signal));
    const answer = (): void => {
      this.#watch();
      // A release waits behind this call and fails the request, so HELLO must fail too.
      if (this.#stream.over) throw this.#stream.over;
      this.#request.answer();
    };
    const note = happened('hello', by, announced.map(formatAddress).join(' '));
    await this.#stream.apply('started', { answer }, { change: { announced }, note });
  }

  /**
   * Sets the targets. When it throws, the previous targets stay in force: a failed UPDATE never interrupts data that flows.
   * @throws SCI_STREAM_STATE before HELLO, SCI_STREAM_FAILED, or what the gateway raised
   */
  async update(targets: readonly Target[], by: string): Promise<StreamRecord> {
    await this.#stream.serial(async () => {
      await this.#update.run(targets, by);
      await this.#moves.retarget(targets);
    });
    return this.record;
  }

  /**
   * Moves the stream to another gateway. A failure leaves the stream as it is.
   * @param graceMs How long open connections may stay on the previous gateway.
   * @throws SCI_STREAM_STATE, SCI_NO_RESOURCE, or what one of the gateways raised
   */
  async move(place: Placing, graceMs: number, by: string): Promise<StreamRecord> {
    const move = (): Promise<void> => this.#moves.move(place, graceMs, by);
    await this.#stream.serial(() => this.#stream.apply('move', { move }));
    return this.record;
  }

  /**
   * Ends the stream and frees everything. Idempotent. When it throws, it is retried until it succeeds.
   * @param reason Fails a waiting request, and is recorded if it is an error. The first reason counts.
   */
  async release(reason: SciStreamError, by?: string): Promise<StreamRecord> {
    const first = this.#stream.interrupt(reason);
    this.#request.abandon(first);
    try {
      await this.#stream.serial(() => this.#release(first, by));
    } catch (error) {
      if (!this.#stream.detached) this.#lifetime.after(RELEASE_RETRY_MS, () => void this.#fail(first));
      throw error;
    }
    return this.record;
  }

  async #release(reason: SciStreamError, by: string | undefined): Promise<boolean> {
    this.#request.stop();
    if (!this.#stream.stored) return await this.#stream.apply('discard', { end: () => this.#end() });
    const options = { owed: true };
    const failed = reason.code !== 'SCI_STREAM_RELEASED';
    const release = async (): Promise<void> => {
      const { uid, targets, expiresAt } = this.record;
      const final = await this.#stream.gateway.release(uid, failed && targets.length > 0 ? expiresAt : undefined);
      const stray = await this.#moves.release();
      const end = failed ? 'failed' : 'released';
      const ended = { change: { final, leaving: undefined }, note: happened(end, by, reason.message), options };
      await this.#stream.apply(end, { end: () => this.#end() }, ended);
      // Not before: until it has ended, the stream counts among those that the gateway keeps.
      if (stray !== undefined) this.parts.onStray(stray);
    };
    const change = failed ? { error: reason.toJSON() } : {};
    return await this.#stream.apply(failed ? 'fail' : 'release', { release }, { change, options });
  }

  #end(): void {
    const { uid, state } = this.record;
    this.#lifetime.stop();
    this.parts.log.info({ uid, state, reason: this.#stream.over?.code }, 'stream ended');
    this.parts.onEnd(uid);
  }

  /** Leaves the stream to the next process: fails a waiting request, lets the call in progress finish, stops all timers. */
  async detach(reason: SciStreamError): Promise<void> {
    const detached = this.#stream.detach();
    this.#request.abandon(reason);
    await detached;
    this.#lifetime.stop();
    this.#request.stop();
    this.#update.stop();
    this.#moves.stop();
  }

  #watch(): void {
    watchProxy(this.#stream, (reason) => this.#fail(reason));
  }

  #expire(): void {
    const { uid } = this.record;
    this.parts.log.info({ uid }, 'stream lifetime expired');
    void this.#fail(new SciStreamError('SCI_STREAM_RELEASED', 'The lifetime of the stream has ended.'));
  }

  /** Releases the stream because of `reason`, which matters more than a failure of the release. Never rejects. */
  async #fail(reason: SciStreamError): Promise<void> {
    await this.release(reason).catch((error: unknown) => {
      this.parts.log.error({ uid: this.record.uid, error: messageOf(error) }, 'release failed, retrying in 10 s');
    });
  }
}
