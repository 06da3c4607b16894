import { setTimeout as sleep } from 'node:timers/promises';
import { type Address, parseAddress } from '../contracts/address.js';
import { SciStreamError, toSciStreamError } from '../contracts/errors.js';
import type { ControlClient } from './control-client.js';
import type { Journal } from './journal.js';
import { isUnknown, naming, releaseSides, setTargets, sideName, type Side, refuseLoop } from './setup.js';
import { mergeStatus, withRates, type SideAnswer, type StreamStatus } from './status.js';
import { checkHops, verifyFailure, type VerifyOptions, type VerifyResult } from './verify.js';
import { watchSides } from './watch.js';

/** What a handle is made of; made by S2UC only. */
export interface HandleParts {
  readonly uid: string;
  /** The sides that are this user's. */
  readonly from?: ControlClient | undefined;
  readonly to?: ControlClient | undefined;
  /** Inbound side of somebody else, which may be asked for a probe. */
  readonly peer?: ControlClient | undefined;
  readonly journal: Journal;
  /** The stream as it was when the handle was made. */
  readonly initial: StreamStatus;
  /** From the call to ready, ms; for a stream that was there already absent. */
  readonly setupMs?: number;
}

/** One thing that happened to one side of a stream. */
export interface StreamHistoryEvent {
  /** ISO 8601 UTC, of that side's clock. */
  readonly at: string;
  readonly side: 'from' | 'to';
  readonly what: string;
  /** Whose call it was; absent when nobody asked for it. */
  readonly by?: string;
  readonly detail?: string;
}

/** How to look at a stream. */
export interface StatusOptions {
  /** Look twice, this many ms apart, and add rates. */
  readonly sampleMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * One stream, for whoever made or found it. Methods may be called any number of times and concurrently. `await using`
 * ends the stream at the end of the block. It works until the S2UC it came from is closed.
 */
export class StreamHandle implements AsyncDisposable {
  readonly uid: string;
  readonly name: string;
  /** Where consumers connect, host:port; empty for the inbound side alone. */
  readonly connect: readonly string[];
  /** The stream as it was when this handle was made. */
  readonly initial: StreamStatus;
  /** From the call to ready, ms; absent for a stream that was found. */
  readonly setupMs: number | undefined;
  readonly #parts: HandleParts;

  constructor(parts: HandleParts) {
    this.uid = parts.uid;
    this.name = parts.initial.name;
    this.connect = parts.initial.connect;
    this.initial = parts.initial;
    this.setupMs = parts.setupMs;
    this.#parts = parts;
  }

  /**
   * Both sides now. A side that cannot be asked is part of the answer.
   * @throws The error of the first side when no side could be asked.
   */
  async status({ sampleMs = 0, signal }: StatusOptions = {}): Promise<StreamStatus> {
    const before = await this.#ask(signal);
    if (sampleMs === 0) return before;
    const start = performance.now();
    await sleep(sampleMs, undefined, { signal });
    return withRates(await this.#ask(signal), before, performance.now() - start);
  }

  /**
   * What happened to the stream, of both sides, oldest first.
   * @throws The error of the first side that cannot tell.
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
    // Stable: what one server tells stays in its order, also when the clocks of the two differ.
    return (await Promise.all(both)).flat().sort((a, b) => a.at.localeCompare(b.at));
  }

  /** Both sides now and after every change of state, until the stream is over on all of them. */
  watch(signal?: AbortSignal): AsyncGenerator<StreamStatus> {
    const { uid, from, to } = this.#parts;
    return watchSides(uid, from, to, signal);
  }

  /**
   * Checks hop by hop; nothing arrives at the producer unless `full` is set.
   * @throws SCI_VERIFY_FAILED naming the first hop that does not work.
   */
  async verify(options: VerifyOptions = {}): Promise<VerifyResult> {
    const { uid, from, to, peer } = this.#parts;
    const result = await checkHops({ uid, from: from ?? peer, to, borrowed: !from }, options);
    const failure = verifyFailure(result);
    if (failure) throw failure;
    return result;
  }

  /**
   * Sends new connections to other producers; connections in flight stay.
   * @throws SCI_USAGE when the inbound side is not this user's, and what UPDATE raises.
   */
  async update(
    { producer }: { readonly producer: readonly (string | Address)[] },
    signal?: AbortSignal,
  ): Promise<StreamStatus> {
    const { uid, from } = this.#parts;
    if (!from) {
      throw new SciStreamError('SCI_USAGE', `The inbound side of stream ${uid} is unknown here.`, {
        suggestions: ['Ask the creator of the inbound side to change its producers.'],
      });
    }
    const targets = addresses(producer, 'Producer');
    const { to } = await this.status({ signal });
    refuseLoop(
      targets,
      (to?.listeners ?? []).map((text) => parseAddress(text)),
    );
    await this.#setTargets({ role: 'inbound', client: from }, targets, signal);
    return await this.#alive(signal);
  }

  async #setTargets(side: Side, targets: readonly Address[], signal?: AbortSignal): Promise<void> {
    await setTargets(side, this.uid, targets, signal).catch((error: unknown) => {
      throw naming(side, error);
    });
  }

  /** The status after a change. @throws SCI_STREAM_FAILED */
  async #alive(signal?: AbortSignal): Promise<StreamStatus> {
    const { uid } = this;
    const status = await this.status({ signal });
    if (status.state !== 'failed') return status;
    throw new SciStreamError('SCI_STREAM_FAILED', `Stream ${uid} has failed: ${status.diagnosis}`, {
      suggestions: [`scistream stream status ${uid}`, `scistream stream down ${uid}`],
    });
  }

  /**
   * Has the outbound side forward to the inbound side again, after that was moved to another gateway; connections in flight
   * stay.
   * @param listeners Of the inbound side; where its control server tells them they need not be given.
   * @throws SCI_USAGE when the outbound side is not this user's, and what asking the one side and UPDATE of the other raise.
   */
  async follow(listeners: readonly (string | Address)[] = [], signal?: AbortSignal): Promise<StreamStatus> {
    const { uid, from, to, peer } = this.#parts;
    const inbound = from ?? peer;
    if (!to || (!inbound && listeners.length === 0)) {
      throw new SciStreamError('SCI_USAGE', `The ${to ? 'in' : 'out'}bound side of stream ${uid} is unknown here.`, {
        suggestions: [
          to
            ? `Ask its creator for the listeners, then run: scistream stream update ${uid} --inbound host:port`
            : `Ask the creator of the outbound side to run: scistream stream update ${uid}`,
        ],
      });
    }
    const found = listeners.length > 0 ? listeners : ((await inbound?.get(uid, { signal }))?.listeners ?? []);
    await this.#setTargets({ role: 'outbound', client: to }, addresses(found, 'Listener'), signal);
    return await this.#alive(signal);
  }

  /**
   * Ends every side that is this user's, at once. Idempotent.
   * @returns The last status with the final counters; undefined when the control servers remember nothing.
   * @throws Why a side could not be released; the others are.
   */
  async down(): Promise<StreamStatus | undefined> {
    const { uid, journal } = this.#parts;
    const sides = this.#sides();
    const [unreleased] = await releaseSides(sides, uid);
    if (unreleased) throw unreleased.error;
    await journal.drop(uid, sides.map(sideName));
    return await this.#ask().catch((error: unknown) => {
      if (isUnknown(error)) return undefined;
      throw error;
    });
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
    const error = inbound?.error ?? outbound?.error;
    if (error && !inbound?.stream && !outbound?.stream) throw error;
    return mergeStatus(uid, inbound, outbound);
  }
}

const addresses = (given: readonly (string | Address)[], what: string): readonly Address[] =>
  given.map((address) => (typeof address === 'string' ? parseAddress(address, what) : address));

/** Asks one control server for a stream; an error becomes part of the answer. */
export async function askSide(client: ControlClient, uid: string, signal?: AbortSignal): Promise<SideAnswer> {
  try {
    return { endpoint: client.endpoint, stream: await client.get(uid, { signal }) };
  } catch (error) {
    signal?.throwIfAborted();
    return { endpoint: client.endpoint, error: toSciStreamError(error) };
  }
}
