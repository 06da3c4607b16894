import type { Address } from '../contracts/address.js';
import { messageOf, SciStreamError } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import type { ProbeAnswer } from '../contracts/stream.js';
import type { ControlClient } from './control-client.js';
import type { Journal } from './journal.js';
import { sourcesFor } from './peer-sources.js';
import { defined, type Plan } from './plan.js';
import { rollBack } from './release.js';
import {
  connectSide,
  isNotOffered,
  isUnknown,
  onEverySide,
  refuseLoop,
  reserve,
  sideName,
  type Outcomes,
  type Reserved,
  type Side,
} from './setup.js';
import { mergeStatus, type StreamStatus } from './status.js';
import { StreamHandle } from './stream-handle.js';
import { checkHops, waitVerified, type VerifyResult } from './verify.js';

/** Assumed lifetime of a stream without a requested one, until its control servers report the real one, ms. */
const UNKNOWN_LIFETIME_MS = 24 * 3_600_000;

/** Minimum time for the check, ms: it gets what the other steps have left. */
const MIN_VERIFY_MS = 2_000;

/** Progress of the creation of a stream, in this order. */
export type ProgressEvent =
  /** From now on, application controllers may send HELLO for the stream. */
  | { readonly kind: 'uid'; readonly uid: string }
  /** A side has its listeners. */
  | { readonly kind: 'reserved'; readonly side: 'from' | 'to'; readonly status: StreamStatus }
  /** Both gateways encrypt, with the credentials of this stream. */
  | { readonly kind: 'encrypted' }
  | { readonly kind: 'verified'; readonly result: VerifyResult };

/** The known control servers of a stream. `peer` belongs to an inbound side that another user owns. */
export interface Clients {
  readonly from?: ControlClient | undefined;
  readonly to?: ControlClient | undefined;
  readonly peer?: ControlClient | undefined;
}

/** Inputs of the creation besides sides and plan. */
export interface Making extends Clients {
  /** Whether the uid was generated for this call, so that no other stream can have it. */
  readonly fresh: boolean;
  /** How an inbound side of another user answers a probe, if its ticket says so. */
  readonly probe?: ProbeAnswer | undefined;
}

/** A stream that is ready. */
export interface Made {
  readonly handle: StreamHandle;
  /** Listeners of the inbound side. */
  readonly listeners: readonly Address[];
}

/** Creates streams from resolved sides, plan and control servers. One for each user client; calls may overlap. */
export class StreamMaker {
  readonly #journal: Journal;
  readonly #log: Logger;
  readonly #onProgress: ((event: ProgressEvent) => void) | undefined;

  constructor(parts: {
    readonly journal: Journal;
    readonly log: Logger;
    readonly onProgress?: ((event: ProgressEvent) => void) | undefined;
  }) {
    this.#journal = parts.journal;
    this.#log = parts.log;
    this.#onProgress = parts.onProgress;
  }

  /**
   * Runs REQ and HELLO, then UPDATE with the connection map, then the checks. On any error, and when `signal` aborts,
   * it releases the sides.
   * @param started Time of the user's call, from performance.now().
   * @param inboundListeners Listeners of an inbound side that is not among `sides`.
   * @throws The first error, with its side; SCI_STREAM_EXISTS; the reason of `signal`
   */
  async make(
    sides: readonly Side[],
    plan: Plan,
    { fresh, probe, ...clients }: Making,
    started: number,
    signal?: AbortSignal,
    inboundListeners?: readonly Address[],
  ): Promise<Made> {
    const { uid } = plan;
    const outcomes: Outcomes = new Map();
    if (!fresh) await onEverySide(sides, (side, stop) => mustBeFree(side, uid, stop), signal);
    const expected = new Date(Date.now() + (plan.lifetimeMs || UNKNOWN_LIFETIME_MS)).toISOString();
    await this.#warnOfNamesakes(plan);
    const remembered = await this.#remember(plan, expected, clients, probe);
    try {
      this.#onProgress?.({ kind: 'uid', uid });
      const reserved = await onEverySide(
        sides,
        (side, stop) => this.#reserve(side, plan, clients.to, outcomes, stop),
        signal,
      );
      if (plan.encryption === 'tls') this.#onProgress?.({ kind: 'encrypted' });
      const listeners = inboundListeners ?? reserved.find(({ role }) => role === 'inbound')?.listeners ?? [];
      refuseLoop(plan.producer, reserved.find(({ role }) => role === 'outbound')?.listeners ?? []);
      const connected = await onEverySide(reserved, (side, stop) => connectSide(side, plan, listeners, stop), signal);
      const verification = plan.verify ? await this.#verify(plan, { ...clients, probe }, started, signal) : undefined;
      const initial = statusOf(uid, connected);
      if (remembered) await this.#remember(plan, initial.expiresAt || expected, clients, probe);
      signal?.throwIfAborted();
      const parts = { uid, ...clients, probe, journal: this.#journal, initial, ...(verification && { verification }) };
      return { handle: new StreamHandle({ ...parts, setupMs: elapsed(started) }), listeners };
    } catch (error) {
      this.#log.debug({ uid }, 'creation failed, releasing stream');
      const { failure, gone } = await rollBack(sides, outcomes, uid, error);
      if (gone.length > 0) await this.#journal.drop(uid, gone.map(sideName));
      throw failure;
    }
  }

  async #verify(
    { uid, verify, waitMs, encryption }: Plan,
    { from, to, peer, probe }: Omit<Making, 'fresh'>,
    started: number,
    signal?: AbortSignal,
  ): Promise<VerifyResult> {
    const asked = { uid, from: from ?? peer, to, borrowed: !from, probe, encryption };
    const left = Math.max(MIN_VERIFY_MS, waitMs - elapsed(started));
    const result = await (verify === 'report' ? checkHops(asked, { signal }) : waitVerified(asked, left, signal));
    this.#onProgress?.({ kind: 'verified', result });
    return result;
  }

  async #reserve(
    side: Side,
    plan: Plan,
    to: ControlClient | undefined,
    outcomes: Outcomes,
    signal: AbortSignal,
  ): Promise<Reserved> {
    const sources = side.role === 'inbound' ? await sourcesFor(plan, to, signal) : [];
    const reserved = await reserve(side, plan, sources, outcomes, signal);
    this.#onProgress?.({ kind: 'reserved', side: sideName(side), status: statusOf(plan.uid, [reserved]) });
    return reserved;
  }

  async #warnOfNamesakes({ uid, name }: Plan): Promise<void> {
    const now = new Date().toISOString();
    const others = (await this.#journal.list()).filter(
      (entry) => entry.name === name && entry.uid !== uid && entry.expiresAt > now,
    );
    if (name === '' || others.length === 0) return;
    const message = 'another stream of this user has the same name; later commands need the uid';
    this.#log.warn({ name, uid, others: others.map((entry) => entry.uid).join(', ') }, message);
  }

  /** A journal that is not writable must not prevent the stream. @returns Whether the entry is written. */
  async #remember(
    { uid, name }: Plan,
    expiresAt: string,
    { from, to, peer }: Clients,
    probe: ProbeAnswer | undefined,
  ): Promise<boolean> {
    const sides = { from: from?.endpoint, to: to?.endpoint, peer: peer?.endpoint, probe };
    try {
      await this.#journal.put({ uid, name, createdAt: new Date().toISOString(), expiresAt, ...defined(sides) });
      return true;
    } catch (error) {
      this.#log.warn(
        { uid, error: messageOf(error) },
        'stream not recorded for later commands; note its uid, or set SCISTREAM_STATE_DIR to a writable directory',
      );
      return false;
    }
  }
}

/** Rejects a requested uid that is in use, before REQ: a roll-back would release the existing stream. */
async function mustBeFree({ client }: Side, uid: string, signal: AbortSignal): Promise<void> {
  try {
    const { state } = await client.get(uid, { signal });
    if (state === 'failed' || state === 'released') return;
  } catch (error) {
    // An older control server rejects REQ itself, which the roll-back respects.
    if (isUnknown(error) || isNotOffered(error)) return;
    throw error;
  }
  throw new SciStreamError('SCI_STREAM_EXISTS', `Stream ${uid} already exists.`, {
    suggestions: [`scistream stream status ${uid}`, `scistream stream down ${uid}`],
  });
}

function statusOf(uid: string, sides: readonly Reserved[]): StreamStatus {
  const answer = (role: Side['role']) => {
    const side = sides.find((one) => one.role === role);
    return side && { endpoint: side.client.endpoint, stream: side.stream };
  };
  return mergeStatus(uid, answer('inbound'), answer('outbound'));
}

const elapsed = (since: number): number => Number((performance.now() - since).toFixed(1));
