import { formatAddress, type Address } from '../address.js';
import type { DataServer, Reservation, ReserveRequest } from '../data/data-server.js';
import { messageOf, SciStreamError, toSciStreamError } from '../errors.js';
import type { Logger } from '../logger.js';
import { isFinal, type StreamEvent, type StreamRecord } from '../stream-store.js';
import { wrongState } from './stream-errors.js';
import { happened } from './stream-events.js';

/** How often it is looked whether a gateway that the stream has left is still of use, ms. */
const LOOK_MS = 2_000;

/** Of a stream that is on one gateway, as nearly all are whenever one is placed. */
const NOWHERE: readonly string[] = [];

/** Chooses a gateway for a stream and tells it `take` before anything else is placed. @throws SCI_NO_RESOURCE … */
export type Placing = (take: (gateway: string) => void) => Promise<void>;

/** What a move needs of the machine of its stream. */
export interface Moving {
  readonly record: () => StreamRecord;
  readonly dataServer: (gateway: string) => DataServer;
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

  /** Has connections that still come to the gateway of before go where all others go. Never rejects. */
  async retarget(targets: readonly Address[]): Promise<void> {
    const { uid, leaving } = this.#record;
    if (!leaving) return;
    const { dataServer, interruptible, log } = this.stream;
    const left = dataServer(leaving.gateway);
    await interruptible((signal) => left.updateTargets(uid, targets, signal)).catch((error: unknown) =>
      log.warn({ uid, error: messageOf(error) }, 'old targets stay on the gateway of before'),
    );
  }

  /** Gives back at once what it has on the gateway that it has left. A data server that is away does that when it is back. */
  async release(): Promise<void> {
    await this.#releaseLeft().catch((error: unknown) => {
      if (toSciStreamError(error).code !== 'SCI_S2DS_UNREACHABLE') throw error;
    });
  }

  /** Leaves everything as it is. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #swap(place: Placing, graceMs: number, by: string): Promise<void> {
    const { interruptible, log } = this.stream;
    const { uid, gateway, proxy, runtime, targets } = this.#record;
    const here = this.stream.dataServer(gateway);
    const request = { ...(await here.handover(uid)), uid, proxy, runtime };
    await place((name) => (this.#there = name));
    const there = this.stream.dataServer(this.#there ?? gateway);
    // It was undrained meanwhile.
    if (there === here) throw wrongState(this.#record, 'a move', `scistream gateway drain ${gateway} --move`);
    try {
      const reservation = await interruptible((signal) => setUp(there, request, targets, signal));
      const leaving = { gateway, until: new Date(Date.now() + graceMs).toISOString() };
      const detail = `${gateway} → ${reservation.gateway}: ${reservation.listeners.map(formatAddress).join(' ')}`;
      await this.stream.change({ ...reservation, restarts: 0, leaving }, happened('moved', by, detail));
    } catch (error) {
      await there.release(uid).catch((failure: unknown) => {
        log.error({ uid, gateway: there.name, error: messageOf(failure) }, 'stays there until its next start');
      });
      throw error;
    }
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    const { dataServer, log } = this.stream;
    const { uid, gateway, leaving } = this.#record;
    if (!leaving) return;
    try {
      const over = Date.now() >= Date.parse(leaving.until);
      if (!over && (await isUsed(dataServer(leaving.gateway), dataServer(gateway), uid))) return;
      await this.stream.serial(() => this.#leave());
    } catch (error) {
      log.debug({ uid, error: messageOf(error) }, 'the gateway that the stream has left cannot be asked');
    } finally {
      this.lookBack();
    }
  }

  async #leave(): Promise<void> {
    const { leaving, state } = this.#record;
    if (this.#stopped || !leaving || isFinal(state)) return;
    await this.#releaseLeft();
    await this.stream.change({ leaving: undefined }, happened('left', undefined, leaving.gateway));
  }

  async #releaseLeft(): Promise<void> {
    const { uid, gateway, leaving } = this.#record;
    const left = leaving && this.stream.dataServer(leaving.gateway);
    // The same one where there is only one, whatever its name was.
    if (left && left !== this.stream.dataServer(gateway)) await left.release(uid);
  }

  get #record(): StreamRecord {
    return this.stream.record();
  }
}

/** @throws SCI_STREAM_STATE when the stream cannot leave its gateway, or not now */
function mustMove({ uid, state, movable, leaving }: StreamRecord): void {
  const refuse = (why: string, suggestion: string): never => {
    throw new SciStreamError('SCI_STREAM_STATE', `Stream ${uid} ${why}.`, { suggestions: [suggestion] });
  };
  if (!movable) refuse('is not movable', 'Make movable streams: scistream stream up --movable');
  if (leaving) refuse(`is still leaving ${leaving.gateway}, until ${leaving.until}`, 'Try again then.');
  if (state !== 'provisioned' && state !== 'active') refuse(`is ${state} and cannot be moved now`, 'Try again later.');
}

/** When this returns the stream accepts and forwards there as it does here. */
async function setUp(
  there: DataServer,
  request: ReserveRequest,
  targets: StreamRecord['targets'],
  signal: AbortSignal,
): Promise<Reservation> {
  const reservation = await there.reserve(request);
  await there.start(request.uid, signal);
  if (targets.length > 0) await there.updateTargets(request.uid, targets, signal);
  signal.throwIfAborted();
  return reservation;
}

/**
 * Whether a gateway that a stream has left is still of use: until connections have come to the new one, for then the other
 * side has followed, and none is open on the old one. Where a proxy does not count nobody can tell, and it is.
 */
async function isUsed(old: DataServer, now: DataServer, uid: string): Promise<boolean> {
  const [before, after] = await Promise.all([old.status(uid), now.status(uid)]);
  const followed = after.listeners.some(({ connections }) => connections > 0);
  return !followed || before.listeners.length === 0 || before.listeners.some(({ open }) => open > 0);
}
