import { setTimeout as sleep } from 'node:timers/promises';
import { type Address, parseAddress } from '../contracts/address.js';
import { SciStreamError, toSciStreamError } from '../contracts/errors.js';
import type { ProbeAnswer } from '../contracts/stream.js';
import type { ControlClient } from './control-client.js';
import { followSources, historyEvent, type FollowOptions, type StreamHistoryEvent } from './events.js';
import type { Journal } from './journal.js';
import { notReleased, releaseAt, releaseSides, unknownStream } from './release.js';
import { isNotOffered, isUnknown, naming, refuseLoop, setTargets, sideName, type Side } from './setup.js';
import type { SideAnswer, SideStatus } from './side-status.js';
import { mergeStatus, withRates, type StreamStatus } from './status.js';
import { checkHops, verifyFailure, type VerifyOptions, type VerifyResult } from './verify.js';
import { watchSides } from './watch.js';

/** Parts of a handle. Only S2UC creates handles. */
export interface HandleParts {
  readonly uid: string;
  /** Control servers of the sides that this user owns. */
  readonly from?: ControlClient | undefined;
  readonly to?: ControlClient | undefined;
  /** Control server of an inbound side that another user owns; it can open a probe. */
  readonly peer?: ControlClient | undefined;
  /** How the listeners of that inbound side answer a probe, if its ticket says so. */
  readonly probe?: ProbeAnswer | undefined;
  readonly journal: Journal;
  /** Control servers that did not answer a search and may have a side of the stream. */
  readonly silent?: readonly ControlClient[];
  /** Sides that this user created with other credentials than those of the client. */
  readonly otherCredentials?: readonly ('from' | 'to')[] | undefined;
  /** Status of the stream when the handle was created. */
  readonly initial: StreamStatus;
  /** Time from the call to ready, ms; absent for an existing stream. */
  readonly setupMs?: number;
  readonly verification?: VerifyResult;
}

/** Options of {@link StreamHandle.status}. */
export interface StatusOptions {
  /** Interval between two samples, ms, from which rates are computed; default 0: one sample, no rates. */
  readonly sampleMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * One stream that was created or found. Methods may be called repeatedly and concurrently. `await using` ends the
 * stream at the end of the block. The handle works until its S2UC is closed.
 */
export class StreamHandle implements AsyncDisposable {
  readonly uid: string;
  readonly name: string;
  /** Listeners for consumers, host:port; empty when only the inbound side is known. */
  readonly connect: readonly string[];
  /** Status of the stream when this handle was created. */
  readonly initial: StreamStatus;
  /** Time from the call to ready, ms; absent for a stream that was found. */
  readonly setupMs: number | undefined;
  /** Result of the check when the stream was created; absent for a stream that was found or not checked. */
  readonly verification: VerifyResult | undefined;
  readonly #parts: HandleParts;

  constructor(parts: HandleParts) {
    this.uid = parts.uid;
    this.name = parts.initial.name;
    this.connect = parts.initial.connect;
    this.initial = parts.initial;
    this.setupMs = parts.setupMs;
    this.verification = parts.verification;
    this.#parts = parts;
  }

  /**
   * The current status of both sides. An unreachable side is part of the status.
   * @throws The error of the first side when no side answers.
   */
  async status({ sampleMs = 0, signal }: StatusOptions = {}): Promise<StreamStatus> {
    const before = await this.#ask(signal);
    if (sampleMs === 0) return before;
    const start = performance.now();
    await sleep(sampleMs, undefined, { signal });
    return withRates(await this.#ask(signal), before, performance.now() - start);
  }

  /**
   * The events of both sides, oldest first.
   * @throws The error of the first side that does not answer.
   */
  async events(signal?: AbortSignal): Promise<readonly StreamHistoryEvent[]> {
    return byTime((await this.#histories(signal)).flatMap(({ events }) => events));
  }

  /**
   * The events of both sides, oldest first, then each new event, until the stream has ended on both. It connects again
   * after a lost connection, at most until the end of the lifetime, and repeats no event.
   * @throws as {@link events}; SCI_NOT_OFFERED for an older control server, after the other side has ended
   */
  async *followEvents(options: FollowOptions = {}): AsyncGenerator<StreamHistoryEvent> {
    const { uid, initial } = this;
    const histories = await this.#histories(options.signal);
    yield* byTime(histories.flatMap(({ events }) => events));
    const until = Date.parse(initial.expiresAt) || Infinity;
    const sources = histories.map(({ side: { client }, events }) => {
      const after = Math.max(0, ...events.map(({ id = 0 }) => id));
      return { client, uid, after, until };
    });
    for await (const event of followSources(sources, options)) {
      const { facility: _facility, uid: _uid, name: _name, owner: _owner, ...own } = event;
      yield own;
    }
  }

  async #histories(signal: AbortSignal | undefined) {
    const read = async (
      side: Side,
    ): Promise<{ readonly side: Side; readonly events: readonly StreamHistoryEvent[] }> => {
      const events = await side.client.events(this.uid, { signal });
      return { side, events: events.map((event) => historyEvent(event, sideName(side))) };
    };
    return await Promise.all(this.#sides().map(read));
  }

  /**
   * The status of both sides now, after every change of state, and 10 minutes and 1 minute before the lifetime ends, until
   * the stream has ended on all of them.
   */
  watch(signal?: AbortSignal): AsyncGenerator<StreamStatus> {
    const { uid, from, to } = this.#parts;
    return watchSides(uid, from, to, signal);
  }

  /**
   * Checks the stream hop by hop. Nothing reaches the producer unless `full` is set.
   * @throws SCI_VERIFY_FAILED naming the first hop that fails.
   */
  async verify(options: VerifyOptions = {}): Promise<VerifyResult> {
    const { uid, from, to, peer, probe } = this.#parts;
    const result = await checkHops({ uid, from: from ?? peer, to, borrowed: !from, probe }, options);
    const failure = verifyFailure(result);
    if (failure) throw failure;
    return result;
  }

  /**
   * Sends new connections to other producers. Open connections stay.
   * @throws SCI_USAGE when this user does not own the inbound side; the errors of UPDATE.
   */
  async update(
    { producer }: { readonly producer: readonly (string | Address)[] },
    signal?: AbortSignal,
  ): Promise<StreamStatus> {
    const { uid, from } = this.#parts;
    if (!from) {
      throw new SciStreamError('SCI_USAGE', `The inbound side of stream ${uid} is unknown here.`, {
        suggestions: ['Ask the owner of the inbound side to change the producer.'],
      });
    }
    const targets = addresses(producer, 'Producer');
    const { to } = await this.status({ signal });
    refuseLoop(
      targets,
      (to?.listeners ?? []).map((text) => parseAddress(text)),
    );
    await this.#setTargets({ role: 'inbound', client: from }, targets, signal);
    return await this.#statusUnlessFailed(signal);
  }

  async #setTargets(side: Side, targets: readonly Address[], signal?: AbortSignal): Promise<void> {
    await setTargets(side, this.uid, targets, signal).catch((error: unknown) => {
      throw naming(side, error);
    });
  }

  /** The status after a change. @throws SCI_STREAM_FAILED */
  async #statusUnlessFailed(signal?: AbortSignal): Promise<StreamStatus> {
    const { uid } = this;
    const status = await this.status({ signal });
    if (status.state !== 'failed') return status;
    throw new SciStreamError('SCI_STREAM_FAILED', `Stream ${uid} has failed: ${status.diagnosis}`, {
      suggestions: [`scistream stream status ${uid}`, `scistream stream down ${uid}`],
    });
  }

  /**
   * Makes the outbound side forward to the current listeners of the inbound side, after that was moved to another
   * gateway. Open connections stay.
   * @param listeners Listeners of the inbound side; default: those that its control server reports.
   * @throws SCI_USAGE when this user does not own the outbound side; the errors of the lookup and of UPDATE.
   */
  async follow(listeners: readonly (string | Address)[] = [], signal?: AbortSignal): Promise<StreamStatus> {
    const { uid, from, to, peer } = this.#parts;
    const inbound = from ?? peer;
    if (!to || (!inbound && listeners.length === 0)) {
      throw new SciStreamError('SCI_USAGE', `The ${to ? 'in' : 'out'}bound side of stream ${uid} is unknown here.`, {
        suggestions: [
          to
            ? `Ask its owner for the listeners, then run: scistream stream update ${uid} --inbound host:port`
            : `Ask the owner of the outbound side to run: scistream stream update ${uid}`,
        ],
      });
    }
    const found = listeners.length > 0 ? listeners : ((await inbound?.get(uid, { signal }))?.listeners ?? []);
    await this.#setTargets({ role: 'outbound', client: to }, addresses(found, 'Listener'), signal);
    return await this.#statusUnlessFailed(signal);
  }

  /**
   * Releases every side that this user owns, in parallel. Idempotent.
   * @returns The last status with the final counters; undefined when the control servers no longer have the stream.
   * @throws The error of the first side that was not released, with all of them. The other sides are released anyway.
   * SCI_STREAM_NOT_FOUND for a side that its control server never showed to this caller, so that it may remain.
   */
  async down(): Promise<StreamStatus | undefined> {
    const { uid, journal, silent = [], otherCredentials = [] } = this.#parts;
    const sides = this.#sides();
    const [unreleased, doubtful] = await Promise.all([
      releaseSides(sides, uid, undefined, (side) => isSeen(this.initial[sideName(side)])),
      releaseAt(silent, uid),
    ]);
    const mayRemain = (side: Side): boolean =>
      unreleased.some(
        (one) => one.side === side && !(isUnknown(one.error) && !otherCredentials.includes(sideName(side))),
      );
    await journal.drop(uid, sides.filter((side) => !mayRemain(side)).map(sideName));
    const errors = [...unreleased.map(({ error }) => error), ...doubtful.errors];
    if (errors.length > 0) throw notReleased(uid, errors);
    if (sides.length === 0 && !doubtful.released) throw unknownStream(uid);
    if (sides.length === 0) return undefined;
    return await this.#ask().then(
      (status) => (isReported(status) ? status : undefined),
      (error: unknown) => {
        if (isUnknown(error)) return undefined;
        throw error;
      },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }

  #sides(): readonly Side[] {
    const { from, to } = this.#parts;
    return [
      ...(from ? [{ role: 'inbound', client: from } as const] : []),
      ...(to ? [{ role: 'outbound', client: to } as const] : []),
    ];
  }

  async #ask(signal?: AbortSignal): Promise<StreamStatus> {
    const { uid, from, to } = this.#parts;
    const [inbound, outbound] = await Promise.all([from && askSide(from, uid, signal), to && askSide(to, uid, signal)]);
    const error = failureOf(inbound, outbound);
    if (error) throw error;
    return mergeStatus(uid, inbound, outbound, this.initial);
  }
}

/** The sort is stable: the events of one server keep their order even if the clocks differ. */
const byTime = (events: readonly StreamHistoryEvent[]): readonly StreamHistoryEvent[] =>
  events.toSorted((a, b) => a.at.localeCompare(b.at));

const isReported = ({ from, to }: StreamStatus): boolean => [from, to].some(isSeen);

/** Whether a control server has shown the side to this caller. */
const isSeen = (side: SideStatus | undefined): boolean =>
  side !== undefined &&
  side.state !== 'unreachable' &&
  side.error?.code !== 'SCI_STREAM_NOT_FOUND' &&
  !(side.state === 'unknown' && side.error);

const addresses = (given: readonly (string | Address)[], what: string): readonly Address[] =>
  given.map((address) => (typeof address === 'string' ? parseAddress(address, what) : address));

/** The error if no side reports the stream. A control server that does not offer reports is no error. */
export function failureOf(from: SideAnswer | undefined, to: SideAnswer | undefined): SciStreamError | undefined {
  const errors = [from?.error, to?.error].flatMap((error) => error ?? []);
  return from?.stream || to?.stream || errors.some(isNotOffered) ? undefined : errors[0];
}

/** Requests a stream from one control server. An error becomes part of the answer. */
export async function askSide(client: ControlClient, uid: string, signal?: AbortSignal): Promise<SideAnswer> {
  try {
    return { endpoint: client.endpoint, stream: await client.get(uid, { signal }) };
  } catch (error) {
    signal?.throwIfAborted();
    return { endpoint: client.endpoint, error: toSciStreamError(error) };
  }
}
