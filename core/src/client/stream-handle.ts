import { setTimeout as sleep } from 'node:timers/promises';
import { type Address, parseAddress } from '../contracts/address.js';
import { SciStreamError, toSciStreamError } from '../contracts/errors.js';
import type { ControlClient } from './control-client.js';
import type { Journal } from './journal.js';
import { isNotOffered, isUnknown, naming, releaseSides, setTargets, sideName, type Side, refuseLoop } from './setup.js';
import type { SideAnswer } from './side-status.js';
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
  readonly journal: Journal;
  /** Control servers that did not answer a search and may have a side of the stream. */
  readonly silent?: readonly ControlClient[];
  /** Status of the stream when the handle was created. */
  readonly initial: StreamStatus;
  /** Time from the call to ready, ms; absent for an existing stream. */
  readonly setupMs?: number;
  readonly verification?: VerifyResult;
}

/** One event of one side of a stream. */
export interface StreamHistoryEvent {
  /** ISO 8601 UTC, by the clock of that side. */
  readonly at: string;
  readonly side: 'from' | 'to';
  readonly what: string;
  /** Identity of the caller; absent for an event without one. */
  readonly by?: string;
  readonly detail?: string;
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
    const { uid } = this.#parts;
    const both = this.#sides().map(async (side) =>
      (await side.client.events(uid, { signal })).map(({ at, what, by, detail }) => ({
        at,
        side: sideName(side),
        what,
        ...(by && { by }),
        ...(detail && { detail }),
      })),
    );
    // The sort is stable: the events of one server keep their order even if the clocks differ.
    return (await Promise.all(both)).flat().sort((a, b) => a.at.localeCompare(b.at));
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
    const { uid, from, to, peer } = this.#parts;
    const result = await checkHops({ uid, from: from ?? peer, to, borrowed: !from }, options);
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
   */
  async down(): Promise<StreamStatus | undefined> {
    const { uid, journal, silent = [] } = this.#parts;
    const sides = this.#sides();
    const [unreleased, doubtful] = await Promise.all([releaseSides(sides, uid), releaseAt(silent, uid)]);
    await journal.drop(uid, sides.filter((side) => !unreleased.some((one) => one.side === side)).map(sideName));
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

const isReported = ({ from, to }: StreamStatus): boolean =>
  [from, to].some((side) => side && side.state !== 'unreachable' && !(side.state === 'unknown' && side.error));

/** Sends RELEASE to control servers that may have a side of the stream. An unknown stream is no error. */
async function releaseAt(
  clients: readonly ControlClient[],
  uid: string,
): Promise<{ readonly released: boolean; readonly errors: readonly SciStreamError[] }> {
  const outcomes = await Promise.allSettled(clients.map((client) => client.release(uid)));
  const errors = outcomes.flatMap((outcome, i) => {
    if (outcome.status === 'fulfilled' || isUnknown(outcome.reason)) return [];
    const { code, message, suggestions } = toSciStreamError(outcome.reason);
    const text = `${clients[i]?.endpoint.facility ?? ''} may have a side of the stream: ${message}`;
    return [new SciStreamError(code, text, { suggestions, cause: outcome.reason })];
  });
  return { released: outcomes.some(({ status }) => status === 'fulfilled'), errors };
}

const unknownStream = (uid: string): SciStreamError =>
  new SciStreamError('SCI_STREAM_NOT_FOUND', `No control server has stream ${uid}.`, {
    suggestions: ['scistream stream ls'],
  });

function notReleased(uid: string, errors: readonly SciStreamError[]): SciStreamError {
  const [first] = errors;
  const text = `Not released: ${errors.map(({ message }) => message).join(' ')}`;
  const suggestions = [...new Set(errors.flatMap((error) => error.suggestions)), `scistream stream down ${uid}`];
  return new SciStreamError(first?.code ?? 'SCI_BUG', text, { suggestions, cause: first });
}

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
