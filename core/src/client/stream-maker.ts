import type { Address } from '../contracts/address.js';
import { messageOf, SciStreamError } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import type { ControlClient } from './control-client.js';
import type { Journal } from './journal.js';
import { defined } from './options.js';
import {
  connectSide,
  isUnknown,
  onEverySide,
  refuseLoop,
  reserve,
  rollBack,
  sideName,
  type Outcomes,
  type Plan,
  type Reserved,
  type Side,
} from './setup.js';
import { mergeStatus, type StreamStatus } from './status.js';
import { StreamHandle } from './stream-handle.js';
import { waitVerified, type VerifyResult } from './verify.js';

/** When a stream ends for which no lifetime was asked, before its control servers have told it, ms. */
const UNKNOWN_LIFETIME_MS = 24 * 3_600_000;

/** What happens while a stream is made, in this order. */
export type ProgressEvent =
  /** From now on application controllers may say HELLO for it. */
  | { readonly kind: 'uid'; readonly uid: string }
  /** A side has its listeners. */
  | { readonly kind: 'reserved'; readonly side: 'from' | 'to'; readonly status: StreamStatus }
  /** Both gateways encrypt, with credentials for this stream only. */
  | { readonly kind: 'encrypted' }
  | { readonly kind: 'verified'; readonly result: VerifyResult };

/** The control servers of a stream, as far as they are known: `peer` is an inbound one that others have used. */
export interface Clients {
  readonly from?: ControlClient | undefined;
  readonly to?: ControlClient | undefined;
  readonly peer?: ControlClient | undefined;
}

/** What a stream is made with. */
export interface Making extends Clients {
  readonly verify: boolean;
  /** The uid was made here, so nobody else can have it. */
  readonly fresh: boolean;
}

/** A stream that is ready. */
export interface Made {
  readonly handle: StreamHandle;
  /** Of the inbound side. */
  readonly listeners: readonly Address[];
}

/** Makes streams of which all is known: sides, plan and control servers. One per user client; calls may overlap. */
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
   * REQ and HELLO, connection map, UPDATE, verify: ready. On any error, and when `signal` aborts, the sides are released.
   * @param started When the user asked for it, as performance.now() tells.
   * @param inboundListeners Those of an inbound side that is not among `sides`.
   * @throws The first error with its side named; SCI_STREAM_EXISTS; the reason of `signal`
   */
  async make(
    sides: readonly Side[],
    plan: Plan,
    { verify, fresh, ...clients }: Making,
    started: number,
    signal?: AbortSignal,
    inboundListeners?: readonly Address[],
  ): Promise<Made> {
    const { uid } = plan;
    const outcomes: Outcomes = new Map();
    if (!fresh) await onEverySide(sides, (side, stop) => mustBeFree(side, uid, stop), signal);
    const expected = new Date(Date.now() + (plan.lifetimeMs || UNKNOWN_LIFETIME_MS)).toISOString();
    await this.#remember(plan, expected, clients);
    try {
      this.#onProgress?.({ kind: 'uid', uid });
      const reserved = await onEverySide(sides, (side, stop) => this.#reserve(side, plan, outcomes, stop), signal);
      if (plan.encryption === 'tls') this.#onProgress?.({ kind: 'encrypted' });
      const listeners = inboundListeners ?? reserved.find(({ role }) => role === 'inbound')?.listeners ?? [];
      refuseLoop(plan.producer, reserved.find(({ role }) => role === 'outbound')?.listeners ?? []);
      const connected = await onEverySide(reserved, (side, stop) => connectSide(side, plan, listeners, stop), signal);
      if (verify) {
        const asked = { uid, from: clients.from ?? clients.peer, to: clients.to, borrowed: !clients.from };
        const result = await waitVerified(asked, plan.waitMs, signal);
        this.#onProgress?.({ kind: 'verified', result });
      }
      const initial = statusOf(uid, connected);
      await this.#remember(plan, initial.expiresAt || expected, clients);
      const parts = { uid, ...clients, journal: this.#journal, initial };
      return { handle: new StreamHandle({ ...parts, setupMs: elapsed(started) }), listeners };
    } catch (error) {
      this.#log.debug({ uid }, 'stream setup failed, releasing');
      const failure = await rollBack(sides, outcomes, uid, error);
      if (failure === error) await this.#journal.drop(uid, sides.map(sideName));
      throw failure;
    }
  }

  async #reserve(side: Side, plan: Plan, outcomes: Outcomes, signal: AbortSignal): Promise<Reserved> {
    const reserved = await reserve(side, plan, outcomes, signal);
    this.#onProgress?.({ kind: 'reserved', side: sideName(side), status: statusOf(plan.uid, [reserved]) });
    return reserved;
  }

  /** A home that cannot be written to is no reason not to make a stream. */
  async #remember({ uid, name }: Plan, expiresAt: string, { from, to, peer }: Clients): Promise<void> {
    const sides = { from: from?.endpoint, to: to?.endpoint, peer: peer?.endpoint };
    try {
      await this.#journal.put({ uid, name, createdAt: new Date().toISOString(), expiresAt, ...defined(sides) });
    } catch (error) {
      this.#log.warn({ uid, error: messageOf(error) }, 'stream not recorded in the journal, note its uid');
    }
  }
}

/** A given uid may be in use; then nothing is begun, for the roll-back would end a stream that is not this one. */
async function mustBeFree({ client }: Side, uid: string, signal: AbortSignal): Promise<void> {
  try {
    const { state } = await client.get(uid, { signal });
    if (state === 'failed' || state === 'released') return;
  } catch (error) {
    if (isUnknown(error)) return;
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
