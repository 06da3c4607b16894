import { formatAddress, type Address } from '../../contracts/address.js';
import { messageOf, SciStreamError, toSciStreamError } from '../../contracts/errors.js';
import type { Gateway, Reservation } from '../../contracts/gateway.js';
import type { Logger } from '../../contracts/logger.js';
import {
  isFinal,
  type StreamEvent,
  type StreamRecord,
  type StreamSpec,
  type StreamTls,
} from '../../contracts/stream.js';
import { within } from '../../contracts/wait.js';
import { wrongState } from './errors.js';
import { happened } from './events.js';

/** How often it is looked whether a gateway that the stream has left is still of use, ms. */
const LOOK_MS = 2_000;
/** What the gateway that a stream has left may take of the time of the stream, ms: it may be left because it is not well. */
const LEFT_MS = 2_000;

/** How long telling it new targets may take, ms. */
const TELL_MS = 20_000;

/** Of a stream that is on one gateway, as nearly all are whenever one is placed. */
const NOWHERE: readonly string[] = [];

/** Chooses a gateway for a stream and tells it `take` before anything else is placed. @throws SCI_NO_RESOURCE … */
export type Placing = (take: (gateway: string) => void) => Promise<void>;

/** What a move needs of the machine of its stream. */
export interface Moving {
  readonly record: () => StreamRecord;
  readonly gatewayOf: (name: string) => Gateway;
  /** A gateway may have something of the stream for which nobody will ask again. */
  readonly onStray: (gateway: string) => void;
  readonly log: Logger;
  /** Gives a call a signal that aborts when the stream ends. One at a time. */
  readonly interruptible: <T>(call: (signal: AbortSignal) => Promise<T>) => Promise<T>;
  readonly change: (change: Partial<StreamRecord>, event: StreamEvent) => Promise<void>;
  /** Runs `work` while nothing else changes the stream. */
  readonly serial: (work: () => Promise<void>) => Promise<void>;
}

/** How one stream goes from one gateway to another, and gives back what it had where it was. */
export class StreamMover {
  /** The gateway on which it is being set up. */
  #there: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  /** What the gateway of before has still to be told, and that it is being told. */
  #wanted: readonly Address[] | undefined;
  #telling: Promise<void> | undefined;

  constructor(private readonly stream: Moving) {}

  /** Where it has something beside its gateway. */
  get gateways(): readonly string[] {
    const { leaving } = this.#record;
    return this.#there || leaving ? [this.#there, leaving?.gateway].flatMap((name) => name ?? []) : NOWHERE;
  }

  /**
   * One change of the record, once the stream forwards on the other gateway. Whatever fails before leaves it as it is. Only
   * while nothing else changes the stream.
   * @param graceMs How long what is open on the gateway of before may stay there.
   * @throws SCI_STREAM_STATE, SCI_NO_RESOURCE, or what one of the gateways raised
   */
  async move(place: Placing, graceMs: number, by: string): Promise<void> {
    mustMove(this.#record);
    try {
      await this.#swap(place, graceMs, by);
    } finally {
      this.#there = undefined;
    }
    this.lookBack(Math.min(graceMs, LOOK_MS));
  }

  /** Goes on with what is left to give back: as soon as that is of no use any more. */
  lookBack(ms = LOOK_MS): void {
    if (this.#stopped || !this.#record.leaving) return;
    this.#timer = setTimeout(() => void this.#look(), ms).unref();
  }

  /** Has connections that still come to the gateway of before go where all others go, sooner or later. Never rejects. */
  async retarget(targets: readonly Address[]): Promise<void> {
    if (!this.#record.leaving) return;
    this.#wanted = targets;
    this.#telling ??= this.#tell().finally(() => (this.#telling = undefined));
    await within(this.#telling, LEFT_MS, () => new Error('late')).catch(() => undefined);
  }

  /**
   * Gives back at once what it has on the gateway that it has left.
   * @returns the name of that gateway where it did not answer, and has to be told once more when the stream is over
   */
  async release(): Promise<string | undefined> {
    const { leaving } = this.#record;
    const late = (): SciStreamError =>
      new SciStreamError('SCI_S2DS_UNREACHABLE', `Gateway ${leaving?.gateway ?? ''} does not answer.`);
    try {
      await within(this.#releaseLeft(), LEFT_MS, late);
      return undefined;
    } catch (error) {
      if (toSciStreamError(error).code !== 'SCI_S2DS_UNREACHABLE') throw error;
      return leaving?.gateway;
    }
  }

  /** Leaves everything as it is. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #swap(place: Placing, graceMs: number, by: string): Promise<void> {
    const { interruptible, log } = this.stream;
    const { uid, gateway, proxy, runtime, targets, spec } = this.#record;
    const here = this.stream.gatewayOf(gateway);
    const tls = await here.handover(uid);
    await place((name) => (this.#there = name));
    const there = this.stream.gatewayOf(this.#there ?? gateway);
    // It was undrained meanwhile.
    if (there === here) throw wrongState(this.#record, 'a move', `scistream gateway drain ${gateway} --move`);
    try {
      const reservation = await interruptible((signal) =>
        setUp(there, uid, { ...spec, proxy, runtime }, tls, targets, signal),
      );
      const leaving = { gateway, until: new Date(Date.now() + graceMs).toISOString() };
      const detail = `${gateway} → ${reservation.gateway}: ${reservation.listeners.map(formatAddress).join(' ')}`;
      await this.stream.change({ ...reservation, restarts: 0, leaving }, happened('moved', by, detail));
    } catch (error) {
      await within(there.release(uid), LEFT_MS, () => new Error('no answer')).catch((failure: unknown) => {
        log.error({ uid, gateway: there.name, error: messageOf(failure) }, 'stays there until it is told once more');
        this.stream.onStray(there.name);
      });
      throw error;
    }
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    const { gatewayOf, log } = this.stream;
    const { uid, gateway, leaving } = this.#record;
    if (!leaving) return;
    try {
      const over = Date.now() >= Date.parse(leaving.until);
      if (!over && (await isUsed(gatewayOf(leaving.gateway), gatewayOf(gateway), uid))) return;
      // Not while it keeps the stream from being commanded: the gateway may not answer for minutes.
      await this.#releaseLeft();
      await this.stream.serial(() => this.#left(leaving.gateway));
    } catch (error) {
      log.debug({ uid, error: messageOf(error) }, 'the gateway that the stream has left cannot be asked');
    } finally {
      this.lookBack();
    }
  }

  async #left(gateway: string): Promise<void> {
    const { leaving, state } = this.#record;
    if (this.#stopped || leaving?.gateway !== gateway || isFinal(state)) return;
    await this.stream.change({ leaving: undefined }, happened('left', undefined, gateway));
  }

  /** Tells the gateway of before what is wanted by now, until that is so. Never rejects. */
  async #tell(): Promise<void> {
    const { gatewayOf, log } = this.stream;
    while (this.#wanted) {
      const targets = this.#wanted;
      this.#wanted = undefined;
      const { uid, leaving } = this.#record;
      if (this.#stopped || !leaving) return;
      try {
        await gatewayOf(leaving.gateway).updateTargets(uid, targets, AbortSignal.timeout(TELL_MS));
      } catch (error) {
        log.warn({ uid, error: messageOf(error) }, 'old targets stay on the gateway of before');
      }
    }
  }

  async #releaseLeft(): Promise<void> {
    const { uid, gateway, leaving } = this.#record;
    const left = leaving && this.stream.gatewayOf(leaving.gateway);
    // The same one where there is only one, whatever its name was.
    if (left && left !== this.stream.gatewayOf(gateway)) await left.release(uid);
  }

  get #record(): StreamRecord {
    return this.stream.record();
  }
}

/** @throws SCI_STREAM_STATE when the stream cannot leave its gateway, or not now */
function mustMove({ uid, state, spec: { movable }, leaving }: StreamRecord): void {
  const refuse = (why: string, suggestion: string): never => {
    throw new SciStreamError('SCI_STREAM_STATE', `Stream ${uid} ${why}.`, { suggestions: [suggestion] });
  };
  if (!movable) refuse('is not movable', 'Make movable streams: scistream stream up --movable');
  if (leaving) refuse(`is still leaving ${leaving.gateway}, until ${leaving.until}`, 'Try again then.');
  if (state !== 'provisioned' && state !== 'active') refuse(`is ${state} and cannot be moved now`, 'Try again later.');
}

/** When this returns the stream accepts and forwards there as it does here. */
async function setUp(
  there: Gateway,
  uid: string,
  spec: StreamSpec,
  tls: StreamTls | undefined,
  targets: StreamRecord['targets'],
  signal: AbortSignal,
): Promise<Reservation> {
  const reservation = await there.reserve(uid, spec, tls);
  await there.start(uid, signal);
  if (targets.length > 0) await there.updateTargets(uid, targets, signal);
  signal.throwIfAborted();
  return reservation;
}

/**
 * Whether a gateway that a stream has left is still of use: until connections have come to the new one, for then the other
 * side has followed, and none is open on the old one. Where a proxy does not count nobody can tell, and it is.
 */
async function isUsed(old: Gateway, now: Gateway, uid: string): Promise<boolean> {
  const [before, after] = await Promise.all([old.status(uid), now.status(uid)]);
  const followed = after.listeners.some(({ connections }) => connections > 0);
  return !followed || before.listeners.length === 0 || before.listeners.some(({ open }) => open > 0);
}
