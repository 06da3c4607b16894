import pLimit from 'p-limit';
import { formatAddress, type Target } from '../../contracts/address.js';
import { messageOf, SciStreamError, toSciStreamError } from '../../contracts/errors.js';
import type { Gateway, Reservation } from '../../contracts/gateway.js';
import type { StreamMoved, StreamRecord, StreamTls } from '../../contracts/stream.js';
import { within } from '../../contracts/wait.js';
import type { PlacementRequest } from '../gateways/pool.js';
import { happened, StreamTimer, type LiveStream } from './live-stream.js';
import { asReserved } from './new-stream.js';

/** Streams that move at the same time: each starts a proxy. */
const CONCURRENT_MOVES = 4;
/** Interval of the check whether the previous gateway still carries connections, ms. */
const CHECK_MS = 2_000;
/** Longest time that a stream waits for its previous gateway, which may be out of order, ms. */
const PREVIOUS_GATEWAY_MS = 2_000;
/** Deadline for setting targets on the previous gateway, ms. */
const RETARGET_MS = 20_000;
/** Other gateways of a stream that does not move. Shared, because nearly every stream is one whenever a stream is placed. */
const NONE: readonly string[] = [];

/** Chooses a gateway for a stream and passes it to `take` before anything else is placed. @throws SCI_NO_RESOURCE … */
export type Placing = (take: (gateway: string) => void) => Promise<void>;

/** Moves one stream from one gateway to another, and frees what it has on the previous one. */
export class StreamMover {
  /** The gateway on which the stream is being set up. */
  #there: string | undefined;
  readonly #timer = new StreamTimer();
  #stopped = false;
  /** Targets that the previous gateway does not have yet, and the calls that set them. */
  #wanted: readonly Target[] | undefined;
  #retargeting: Promise<void> | undefined;

  /** @param watch Watches the proxy on the new gateway. */
  constructor(
    private readonly stream: LiveStream,
    private readonly watch: () => void,
  ) {}

  /** The gateways that carry something of the stream, besides its own. */
  get gateways(): readonly string[] {
    const { leaving } = this.#record;
    return this.#there || leaving ? [this.#there, leaving?.gateway].flatMap((name) => name ?? []) : NONE;
  }

  /**
   * Moves the stream. The record changes once, when the stream forwards data on the new gateway; a failure before that
   * leaves the stream as it is. Runs while nothing else changes the stream.
   * @param graceMs How long open connections may stay on the previous gateway.
   * @throws SCI_STREAM_STATE, SCI_NO_RESOURCE, or what one of the gateways raised
   */
  async move(place: Placing, graceMs: number, by: string): Promise<void> {
    mustBeMovable(this.#record);
    try {
      await this.#swap(place, graceMs, by);
    } finally {
      this.#there = undefined;
    }
    this.checkPrevious(Math.min(graceMs, CHECK_MS));
  }

  /** Frees the previous gateway as soon as it carries no connections, or when the grace period ends. */
  checkPrevious(ms = CHECK_MS): void {
    if (this.#stopped || !this.#record.leaving) return;
    this.#timer.after(ms, () => void this.#check());
  }

  /** Sets the targets on the previous gateway too, where connections may still arrive. Retries later; never rejects. */
  async retarget(targets: readonly Target[]): Promise<void> {
    if (!this.#record.leaving) return;
    this.#wanted = targets;
    this.#retargeting ??= this.#retarget().finally(() => (this.#retargeting = undefined));
    await within(this.#retargeting, PREVIOUS_GATEWAY_MS, () => new Error('late')).catch(() => undefined);
  }

  /**
   * Frees everything on the previous gateway immediately.
   * @returns the name of that gateway if it did not answer; it has to be called again after the stream has ended
   */
  async release(): Promise<string | undefined> {
    const { leaving } = this.#record;
    const late = (): SciStreamError =>
      new SciStreamError('SCI_S2DS_UNREACHABLE', `Gateway ${leaving?.gateway ?? ''} does not answer.`, {
        suggestions: ['Check that s2ds runs on that gateway.'],
      });
    try {
      await within(this.#releasePrevious(), PREVIOUS_GATEWAY_MS, late);
      return undefined;
    } catch (error) {
      if (toSciStreamError(error).code !== 'SCI_S2DS_UNREACHABLE') throw error;
      return leaving?.gateway;
    }
  }

  /** Stops the checks and leaves everything as it is. */
  stop(): void {
    this.#stopped = true;
    this.#timer.stop();
  }

  async #swap(place: Placing, graceMs: number, by: string): Promise<void> {
    const { gatewayOf, log, onStray, claimListeners } = this.stream.parts;
    const record = this.#record;
    const { uid, gateway, proxy, runtime, listeners } = record;
    const here = gatewayOf(gateway);
    const tls = await here.handover(uid);
    await place((name) => (this.#there = name));
    const there = gatewayOf(this.#there ?? gateway);
    // The gateway accepts streams again, so this one has been placed where it is.
    if (there === here) rejectMove(uid, `is already on ${gateway}`, `Run: scistream gateway drain ${gateway} --move`);
    let endClaim: (() => void) | undefined;
    try {
      const same = { ...record, spec: { ...record.spec, proxy, runtime } };
      const reserved = (made: Reservation): void => void (endClaim = claimListeners(record, made.listeners));
      const reservation = await this.stream.interruptible((signal) => setUp(there, same, tls, reserved, signal));
      const leaving = { gateway, until: new Date(Date.now() + graceMs).toISOString(), listeners };
      const detail = `${gateway} → ${reservation.gateway}: ${reservation.listeners.map(formatAddress).join(' ')}`;
      const change = { ...asReserved(this.stream.record, reservation), restarts: 0, leaving };
      await this.stream.apply('moved', { watch: this.watch }, { change, note: happened('moved', by, detail) });
    } catch (error) {
      await within(there.release(uid), PREVIOUS_GATEWAY_MS, () => new Error('no answer')).catch((failure: unknown) => {
        log.error(
          { uid, gateway: there.name, error: messageOf(failure) },
          'stream not removed from new gateway after failed move, retrying',
        );
        onStray(there.name);
      });
      throw error;
    } finally {
      endClaim?.();
    }
  }

  /** Never rejects. */
  async #check(): Promise<void> {
    const { gatewayOf, log } = this.stream.parts;
    const { uid, gateway, leaving } = this.#record;
    if (!leaving) return;
    try {
      const over = Date.now() >= Date.parse(leaving.until);
      if (!over && (await isUsed(gatewayOf(leaving.gateway), gatewayOf(gateway), uid))) return;
      // Outside the queue of the stream: the gateway may not answer for minutes.
      await this.#releasePrevious();
      await this.stream.serial(() => this.#left(leaving.gateway));
    } catch (error) {
      log.debug({ uid, error: messageOf(error) }, 'previous gateway does not answer');
    } finally {
      this.checkPrevious();
    }
  }

  async #left(gateway: string): Promise<void> {
    if (this.#stopped || this.#record.leaving?.gateway !== gateway) return;
    await this.stream.apply('left', {}, { change: { leaving: undefined }, note: happened('left', undefined, gateway) });
  }

  /** Sets the latest wanted targets on the previous gateway. Never rejects. */
  async #retarget(): Promise<void> {
    const { gatewayOf, log } = this.stream.parts;
    while (this.#wanted) {
      const targets = this.#wanted;
      this.#wanted = undefined;
      const { uid, leaving } = this.#record;
      if (this.#stopped || !leaving) return;
      try {
        await gatewayOf(leaving.gateway).updateTargets(uid, targets, AbortSignal.timeout(RETARGET_MS));
      } catch (error) {
        log.warn({ uid, error: messageOf(error) }, 'targets not set on previous gateway');
      }
    }
  }

  async #releasePrevious(): Promise<void> {
    const { gatewayOf } = this.stream.parts;
    const { uid, gateway, leaving } = this.#record;
    const previous = leaving && gatewayOf(leaving.gateway);
    // Both names mean the same gateway where there is only one.
    if (previous && previous !== gatewayOf(gateway)) await previous.release(uid);
  }

  get #record(): StreamRecord {
    return this.stream.record;
  }
}

/** A stream that can be asked to move. */
export interface Movable {
  readonly record: StreamRecord;
  move(place: Placing, graceMs: number, by: string): Promise<StreamRecord>;
}

/**
 * Moves the movable streams among these and yields the result of each. When the consumer stops, moves that have not
 * started are skipped.
 * @param place Chooses a gateway that has what a stream needs.
 * @param graceMs How long open connections may stay on the previous gateway.
 * @param by The identity of the operator.
 */
export async function* moveAll(
  streams: readonly Movable[],
  place: (request: PlacementRequest, take: (gateway: string) => void) => Promise<void>,
  graceMs: number,
  by: string,
): AsyncGenerator<StreamMoved> {
  const limit = pLimit(CONCURRENT_MOVES);
  const one = async (stream: Movable): Promise<StreamMoved> => {
    const { gateway: from, spec } = stream.record;
    const { movable, connections, bitsPerSecond } = spec;
    const request = { gateway: '', ports: connections, bitsPerSecond };
    if (!movable) return { record: stream.record, from, moved: false };
    try {
      return { record: await stream.move((take) => place(request, take), graceMs, by), from, moved: true };
    } catch (error) {
      return { record: stream.record, from, moved: false, error: toSciStreamError(error) };
    }
  };
  const all = streams.map((stream) => limit(() => one(stream)));
  try {
    for (const next of all) yield await next;
  } finally {
    limit.clearQueue();
  }
}

/** @throws SCI_STREAM_STATE */
function rejectMove(uid: string, why: string, suggestion: string): never {
  throw new SciStreamError('SCI_STREAM_STATE', `Stream ${uid} ${why}.`, { suggestions: [suggestion] });
}

/** @throws SCI_STREAM_STATE if the stream is not movable or has not left its previous gateway */
function mustBeMovable({ uid, spec, leaving }: StreamRecord): void {
  if (!spec.movable) rejectMove(uid, 'is not movable', 'Create movable streams: scistream stream up --movable');
  if (leaving) rejectMove(uid, `is still leaving ${leaving.gateway}, until ${leaving.until}`, 'Retry then.');
}

/**
 * Sets the stream up on another gateway. When this returns, the stream accepts and forwards data there.
 * @param reserved Called before the stream starts; may throw
 */
async function setUp(
  there: Gateway,
  { uid, spec, targets }: StreamRecord,
  tls: StreamTls | undefined,
  reserved: (reservation: Reservation) => void,
  signal: AbortSignal,
): Promise<Reservation> {
  const reservation = await there.reserve(uid, spec, tls);
  reserved(reservation);
  await there.start(uid, signal);
  if (targets.length > 0) await there.updateTargets(uid, targets, signal);
  signal.throwIfAborted();
  return reservation;
}

/**
 * Whether the previous gateway of a stream is still in use. It is until connections have arrived at the new one, which shows
 * that the other side has followed, and none is open on the previous one. A proxy without statistics counts as in use.
 */
async function isUsed(previous: Gateway, present: Gateway, uid: string): Promise<boolean> {
  const [before, now] = await Promise.all([previous.status(uid), present.status(uid)]);
  const followed = now.listeners.some(({ connections }) => connections > 0);
  return !followed || before.listeners.length === 0 || before.listeners.some(({ open }) => open > 0);
}
