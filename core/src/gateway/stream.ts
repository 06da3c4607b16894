import { EventEmitter, once } from 'node:events';
import type pLimit from 'p-limit';
import { messageOf, quote, S2DSException, SciStreamError } from '../contracts/errors.js';
import type { GatewaySettings } from '../contracts/gateway.js';
import type { Logger } from '../contracts/logger.js';
import type { ReservedListener } from '../contracts/port-allocator.js';
import type { S2DS, S2DSRequest } from '../contracts/s2ds.js';
import type { Restarts, S2DSStatus } from '../contracts/stream.js';
import type { Providers } from '../plugins/index.js';
import type { WriteOptions } from '../store/state-database.js';
import type { GatewayPlugins } from './plugins.js';
import type { RangePortAllocator } from './ports.js';
import { ProbeRuns } from './probe-runs.js';
import { StreamProbes } from './probes.js';
import { acceptedFrom, requestOf, type GatewayStore, type GatewayStream } from './store.js';

/** For a step that is done. A process that dies before this reaches the disk repeats the step, which does no harm. */
export const DONE: WriteOptions = { sync: false, owed: true };
/** For a step that ends a stream, which even a full disk must not prevent. */
export const ENDING: WriteOptions = { owed: true };

/** The error for a uid that the gateway does not know. */
export const unknownStream = (gateway: string, uid: string): S2DSException =>
  new S2DSException('SCI_STREAM_NOT_FOUND', `Gateway ${gateway} has no stream ${quote(uid)}.`);

/** Whether an error says that the gateway or its data server does not carry the stream. */
export const isUnknown = (error: unknown): boolean => SciStreamError.is(error) && error.code === 'SCI_STREAM_NOT_FOUND';

/** The newest restarts that the record of a stream keeps. */
const KEPT_RESTARTS = 10;

/** The parts of a gateway that its streams share. */
export interface GatewayParts {
  readonly settings: GatewaySettings;
  readonly providers: Providers;
  readonly plugins: GatewayPlugins;
  readonly ports: RangePortAllocator;
  readonly store: GatewayStore;
  /** Limits how many proxies start at a time. */
  readonly starts: ReturnType<typeof pLimit>;
  /** Limits the connections of probes. */
  readonly probeSockets: ReturnType<typeof pLimit>;
  /** Aborts when the gateway closes. */
  readonly closing: AbortSignal;
  readonly log: Logger;
}

interface Carried {
  readonly uid: string;
  readonly s2ds: S2DS;
  readonly listeners: readonly ReservedListener[];
}

/** A reserved stream: its data server (S2DS), listeners and probes, its stored record, its restarts and its end. */
export class Stream {
  /** Emits `restarts` when the count changes or never changes again, and `end`. */
  readonly #events = new EventEmitter().setMaxListeners(0);
  readonly #released = new AbortController();
  #record: GatewayStream;
  #isGone = false;
  /** How the stream ended. */
  #end: { readonly error: S2DSException | undefined } | undefined;
  #endIsWatched = false;

  readonly s2ds: S2DS;
  readonly listeners: readonly ReservedListener[];
  readonly probes: StreamProbes;
  readonly probeRuns: ProbeRuns;
  readonly #uid: string;
  readonly #store: GatewayStore;

  constructor(
    { ports, probeSockets, settings, store }: GatewayParts,
    { uid, s2ds, listeners }: Carried,
    record: GatewayStream,
  ) {
    this.s2ds = s2ds;
    this.listeners = listeners;
    const bound = record.listeners[0]?.host ?? settings.wan;
    this.probes = new StreamProbes(
      ports,
      uid,
      { bound, told: record.advertise ?? bound },
      acceptedFrom(record).sources,
    );
    this.probeRuns = new ProbeRuns(uid, probeSockets);
    this.#uid = uid;
    this.#store = store;
    this.#record = record;
  }

  /** The record, as it is stored. */
  get record(): GatewayStream {
    return this.#record;
  }

  /** The request to the data server. */
  get request(): S2DSRequest {
    return requestOf(this.#uid, this.#record, this.listeners);
  }

  /** How a proxy that starts now answers probes, for the record. */
  get probing(): Pick<GatewayStream, 'probe'> {
    const { probe } = this.s2ds.supports;
    const { spec, tls } = this.#record;
    return probe && tls && spec.role === 'inbound' ? { probe } : {};
  }

  /** Aborts with SCI_STREAM_RELEASED when a release begins. */
  get released(): AbortSignal {
    return this.#released.signal;
  }

  /** The status, with the restarts since the stream was reserved. */
  async status(): Promise<S2DSStatus> {
    const { probe, restarts } = this.#record;
    return { ...(await this.s2ds.status(this.#uid)), restarts: restarts?.count ?? 0, ...(probe && { probe }) };
  }

  /**
   * Stores a change of the record. Changes must not overlap.
   * @throws SCI_STREAM_RELEASED when a release has begun; SCI_STATE_WRITE. The record is then unchanged.
   */
  async change(change: Partial<GatewayStream>, options?: WriteOptions): Promise<void> {
    this.released.throwIfAborted();
    const record = { ...this.#record, ...change };
    await this.#store.put(this.#uid, record, options);
    this.#record = record;
  }

  /** Counts a restart of a proxy; the only place where restarts are counted. Must not overlap with a change. */
  async countRestart(reason: string): Promise<void> {
    const { count, last } = this.#record.restarts ?? { count: 0, last: [] };
    const restart = { at: new Date().toISOString(), reason };
    await this.change({ restarts: { count: count + 1, last: [...last, restart].slice(-KEPT_RESTARTS) } }, DONE);
    this.#events.emit('restarts');
  }

  /** Waits for more than `seen` restarts. @returns undefined when the stream has ended. @throws when `signal` aborts */
  async restarted(seen: number, signal?: AbortSignal): Promise<Restarts | undefined> {
    while (!this.#isGone) {
      const { restarts } = this.#record;
      if (restarts && restarts.count > seen) return restarts;
      await once(this.#events, 'restarts', { signal });
    }
    return undefined;
  }

  /**
   * Waits for the end. Callers wait for an event, because the promise of the data server would hold on to every caller
   * that ever waited, and a stream lasts for days.
   * @returns the error when the stream failed. @throws when `signal` aborts
   */
  async ended(signal?: AbortSignal): Promise<S2DSException | undefined> {
    if (this.#end) return this.#end.error;
    void this.#watchEnd();
    const [error] = (await once(this.#events, 'end', { signal })) as [S2DSException | undefined];
    return error;
  }

  /** Aborts every call for the stream and rejects further changes. Idempotent. */
  abort(): void {
    if (this.released.aborted) return;
    this.#released.abort(new S2DSException('SCI_STREAM_RELEASED', `Stream ${this.#uid} is being released.`));
  }

  /** Tells those that wait for restarts that the stream is gone. */
  gone(): void {
    this.#isGone = true;
    this.#events.emit('restarts');
  }

  /** Closes the probe ports and this process's copies of the sockets. The proxy keeps running. */
  async close(): Promise<void> {
    await Promise.all([this.probes.close(), ...this.listeners.map((listener) => listener.close())]);
  }

  async #watchEnd(): Promise<void> {
    if (this.#endIsWatched) return;
    this.#endIsWatched = true;
    try {
      const error = await this.s2ds.ended(this.#uid);
      this.#end = { error };
      this.#events.emit('end', error);
    } catch (error) {
      // Such as for a stream that was not started yet: a later call watches again.
      this.#endIsWatched = false;
      const known = S2DSException.is(error);
      this.#events.emit('end', known ? error : new S2DSException('SCI_BUG', messageOf(error), { cause: error }));
    }
  }
}
