import { EventEmitter, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import pLimit from 'p-limit';
import { inject, injectable } from 'tsyringe';
import { parseAddress, type Address } from '../../contracts/address.js';
import { type Identity, ownerOf } from '../../contracts/authenticator.js';
import { SciStreamError, toSciStreamError } from '../../contracts/errors.js';
import type { GatewayStatus } from '../../contracts/gateway.js';
import type { Logger } from '../../contracts/logger.js';
import type { Policy } from '../../contracts/policy.js';
import type { StreamStore } from '../../contracts/stream-store.js';
import {
  type StreamSnapshot,
  parseUid,
  type StreamSpec,
  type StreamTls,
  isFinal,
  type StreamEvent,
  type StreamRecord,
  type StreamMoved,
  unknownStream,
} from '../../contracts/stream.js';
import { GatewayPool, type GatewayWish, type Placement } from '../gateways/pool.js';
import type { Limits } from '../parts/settings.js';
import { TOKENS } from '../parts/tokens.js';
import { ended, released } from './errors.js';
import { StreamMachine } from './machine.js';
import { moveAll } from './move-all.js';

/** How long a HELLO that overtook its `req` waits for it (protocol.md §2). */
const EARLY_HELLO_MS = 2_000;
const MAX_TARGETS = 4096;
/** How long a start waits for what an earlier process has left half done, ms; it is done all the same. */
const RESUME_MS = 3_000;

/**
 * All streams of a control server, one {@link StreamMachine} each. Every method may be called concurrently, and is
 * called after authentication; it parses what came in, asks the policy, and only then touches anything.
 */
@injectable()
export class StreamController {
  readonly #live = new Map<string, StreamMachine>();
  /** Emits the uid of every request that begins; a uid has at least 8 characters, so none is called `error`. */
  readonly #arrivals = new EventEmitter().setMaxListeners(0);
  readonly #admissions = pLimit(1);
  #stopping = false;

  constructor(
    @inject(TOKENS.Limits) private readonly limits: Limits,
    @inject(TOKENS.StreamStore) private readonly store: StreamStore,
    @inject(TOKENS.Policy) private readonly policy: Policy,
    @inject(GatewayPool) private readonly gateways: GatewayPool,
    @inject(TOKENS.Logger) private readonly log: Logger,
  ) {}

  /**
   * Goes on with the streams of an earlier process. Called once, first.
   * @throws what opening the store or a gateway raises
   */
  async open(): Promise<void> {
    await this.policy.load?.();
    await this.store.open();
    const left = (await this.store.list()).filter(({ state }) => !isFinal(state));
    await this.gateways.open(left.flatMap(({ gateway, leaving }) => [gateway, ...(leaving ? [leaving.gateway] : [])]));
    const resumed = Promise.all(left.map((record) => this.#machine(record).resume()));
    // A gateway that does not answer must not keep the others from being commanded.
    const settled = await Promise.race([resumed.then(() => true), sleep(RESUME_MS, false, { ref: false })]);
    if (!settled)
      this.log.warn({}, 'some streams of an earlier process are not settled yet: a gateway does not answer');
    await this.gateways.begin(() => [...this.#live.values()].flatMap(({ loads }) => loads));
    if (left.length > 0) this.log.info({ streams: left.length }, 'took charge of the streams of an earlier process');
  }

  /**
   * REQ: reserves listeners and waits for HELLO.
   * @param tls Credentials, where `spec.encryption` is `tls`.
   * @param client Aborts when the client is gone.
   */
  async request(
    uid: string,
    spec: StreamSpec,
    tls: StreamTls | undefined,
    identity: Identity,
    client: AbortSignal,
  ): Promise<StreamRecord> {
    const asked = { ...spec, gateway: this.gateways.parse(spec.gateway) };
    // One request at a time: two must not both be granted what is left for one.
    const machine = await this.#admissions(async () => {
      const known: Placement | undefined = this.#live.get(uid)?.record;
      const { connections, bitsPerSecond } = asked;
      const { gateway, refusal } =
        known ?? this.gateways.place({ gateway: asked.gateway, ports: connections, bitsPerSecond });
      const record = await this.#permitted(newRecord(uid, asked, gateway, identity, this.limits), identity);
      if (refusal) throw refusal;
      const resumed = this.#repeated(record);
      if (resumed) return resumed;
      this.#admit(record);
      return this.#begin(record, tls);
    });
    return await machine.untilHello(client);
  }

  #begin(record: StreamRecord, tls: StreamTls | undefined): StreamMachine {
    const { uid, owner, gateway, spec } = record;
    const machine = this.#machine(record);
    machine.begin(tls);
    this.#arrivals.emit(uid);
    const { role, connections } = spec;
    this.log.info({ uid, role, owner, connections, gateway }, 'stream requested');
    return machine;
  }

  /** The record as the policy grants it. @throws SCI_FORBIDDEN */
  async #permitted(asked: StreamRecord, identity: Identity): Promise<StreamRecord> {
    const own = [...this.#live.values()]
      .map(({ record }) => record)
      .filter(({ uid, owner }) => owner === asked.owner && uid !== asked.uid);
    const bitsPerSecond = own.reduce((sum, { spec }) => sum + spec.bitsPerSecond, 0);
    const usage = { streams: own.length, bitsPerSecond };
    const granted = await this.policy.check(identity, { kind: 'request', stream: asked, usage });
    const { proxy = asked.proxy, runtime = asked.runtime, lifetimeMs: most = Infinity, sources } = granted;
    const created = Date.parse(asked.createdAt);
    const lifetimeMs = Math.min(Date.parse(asked.expiresAt) - created, most);
    const spec = { ...asked.spec, proxy, runtime, lifetimeMs, ...(sources ? { sources } : {}) };
    return { ...asked, spec, proxy, runtime, expiresAt: new Date(created + lifetimeMs).toISOString() };
  }

  /** HELLO: the role that counts is the one of the request (protocol.md §2). */
  async hello(uid: string, announced: readonly string[], identity: Identity): Promise<StreamRecord> {
    const machine = this.#live.get(parseUid(uid)) ?? (await this.#arrival(uid));
    await this.policy.check(identity, { kind: 'hello', stream: machine.record });
    let addresses: readonly Address[];
    try {
      addresses = this.#addresses(announced, 'Announced listener');
    } catch (error) {
      // Existing clients wait for `req` to end, so a HELLO that is refused must end it too; a repeated one ends nothing.
      if (waits(machine.record)) await machine.release(toSciStreamError(error));
      throw error;
    }
    return await machine.hello(addresses, ownerOf(identity));
  }

  /** UPDATE: listener i forwards to target i mod count from now on. */
  async update(uid: string, targets: readonly string[], identity: Identity): Promise<StreamRecord> {
    parseUid(uid);
    // Before the lookup: what a stranger is told must not depend on whether the stream exists.
    const addresses = this.#addresses(targets, 'Target');
    if (addresses.length === 0) {
      throw new SciStreamError('SCI_TARGETS_INVALID', `UPDATE of stream ${uid} names no target.`, {
        suggestions: ['Give at least one host:port.'],
      });
    }
    const { record, machine } = await this.#find(uid);
    const granted = await this.policy.check(identity, { kind: 'update', stream: record, targets: addresses });
    if (!machine) throw ended(record);
    return await machine.update(granted.targets ?? addresses, ownerOf(identity));
  }

  /**
   * Has the gateway of a stream connect to a probe of the other gateway.
   * @returns ms
   * @throws SCI_FORBIDDEN, SCI_STREAM_NOT_FOUND, and what the data server raises
   */
  async probe(uid: string, target: Address, challenge: string, identity: Identity): Promise<number> {
    const { record, machine } = await this.#find(uid);
    await this.policy.check(identity, { kind: 'probe', stream: record, targets: [target] });
    if (!machine || machine !== this.#live.get(uid)) throw unknownStream(uid);
    return await this.gateways.of(machine.record.gateway).runProbe(uid, target, challenge);
  }

  /** Makes sure that a change of a stream could be recorded. @throws SCI_STATE_WRITE */
  async check(): Promise<void> {
    await this.store.check?.();
  }

  /** RELEASE: idempotent as long as the stream is remembered. */
  async release(uid: string, identity: Identity): Promise<StreamRecord> {
    const { record, machine } = await this.#find(uid);
    await this.policy.check(identity, { kind: 'release', stream: record });
    return machine ? await machine.release(released(uid), ownerOf(identity)) : record;
  }

  /** @param kind `list` for a look that is one of very many. */
  async get(uid: string, identity: Identity, kind: 'view' | 'list' = 'view'): Promise<StreamSnapshot> {
    const { record } = await this.#find(uid);
    await this.policy.check(identity, { kind, stream: record });
    return await this.#view(record);
  }

  /** What happened to a stream, oldest first. */
  async events(uid: string, identity: Identity): Promise<readonly StreamEvent[]> {
    const { record } = await this.#find(uid);
    await this.policy.check(identity, { kind: 'view', stream: record });
    return await this.store.events(uid);
  }

  /** The streams the caller may see, oldest first. */
  async list(includeEnded: boolean, identity: Identity): Promise<readonly StreamSnapshot[]> {
    const records = includeEnded ? await this.store.list() : [...this.#live.values()].map(({ record }) => record);
    const visible = await Promise.all(
      records.map(async (stream) => {
        const allowed = await this.policy.check(identity, { kind: 'list', stream }).then(
          () => true,
          () => false,
        );
        return allowed ? [stream] : [];
      }),
    );
    return await Promise.all(visible.flat().map((record) => this.#view(record)));
  }

  /** Settles when the record of a live stream changes, or at once when it has ended. */
  async changed(uid: string, signal: AbortSignal): Promise<void> {
    await this.#live.get(uid)?.changed(signal);
  }

  /** Lets a gateway take no new streams, or take them again. @throws SCI_FORBIDDEN, SCI_NAME_INVALID, SCI_STATE_WRITE */
  async drain(gateway: string, drained: boolean, identity: Identity): Promise<GatewayStatus> {
    await this.policy.check(identity, { kind: 'drain', gateway });
    const status = await this.gateways.drain(gateway, drained);
    this.log.info({ gateway, drained, by: ownerOf(identity) }, 'gateway drained or not any more');
    return status;
  }

  /**
   * Drains a gateway and moves its movable streams to others.
   * @param graceMs How long what is open there may stay.
   * @throws as `drain`
   */
  async *move(gateway: string, graceMs: number, identity: Identity): AsyncGenerator<StreamMoved> {
    await this.drain(gateway, true, identity);
    const streams = [...this.#live.values()].filter(({ record }) => record.gateway === gateway);
    const place = (wish: GatewayWish, take: (gateway: string) => void): Promise<void> =>
      this.#admissions(() => {
        const { gateway: name, refusal } = this.gateways.place(wish);
        if (refusal) throw refusal;
        take(name);
      });
    yield* moveAll(streams, place, Math.min(graceMs, this.limits.lifetimeMs), ownerOf(identity));
  }

  counts(): { readonly streams: number; readonly waiting: number } {
    const records = [...this.#live.values()].map(({ record }) => record);
    return { streams: records.length, waiting: records.filter(waits).length };
  }

  /**
   * Refuses new streams and ends waiting requests. Called at the end; may be repeated.
   * @param release Whether to release everything, too; otherwise streams go on, and the next process finds them.
   * @throws The first reason why a stream could not be released, after all were tried.
   */
  async close(release: boolean): Promise<void> {
    this.#stopping = true;
    const stopping = new SciStreamError('SCI_SHUTTING_DOWN', 'The control server is stopping.', {
      suggestions: ['Try again when it is back.'],
    });
    const ends = [...this.#live.values()].map((machine) =>
      release
        ? machine.release(waits(machine.record) ? stopping : released(machine.record.uid))
        : machine.detach(stopping),
    );
    const failed = (await Promise.allSettled(ends)).find((end) => end.status === 'rejected');
    await this.gateways.close();
    await this.store.close();
    this.policy.close?.();
    if (failed) throw failed.reason;
  }

  #machine(record: StreamRecord): StreamMachine {
    const machine = new StreamMachine(record, {
      store: this.store,
      gatewayOf: (name) => this.gateways.of(name),
      onStray: (gateway) => this.gateways.recheck(gateway),
      log: this.log,
      helloTimeoutMs: this.limits.helloTimeoutMs,
      onEnd: (uid) => void this.#live.delete(uid),
    });
    this.#live.set(record.uid, machine);
    return machine;
  }

  /**
   * The stream of a request that a client repeats because this control server restarted before it answered. Not an encrypted
   * one: only the gateway could tell whether the credentials are the same.
   */
  #repeated({ uid, owner, spec }: StreamRecord): StreamMachine | undefined {
    const machine = this.#live.get(uid);
    if (!machine?.lostRequest) return undefined;
    const { record } = machine;
    if (spec.encryption === 'tls' || record.spec.encryption === 'tls') return undefined;
    const { role, transport, connections } = record.spec;
    const same = record.owner === owner && role === spec.role && transport === spec.transport;
    const open = record.state === 'waiting' || record.state === 'provisioned';
    return same && open && connections === spec.connections && record.targets.length === 0 ? machine : undefined;
  }

  async #arrival(uid: string): Promise<StreamMachine> {
    // Without a signal that aborts by itself: its timer keeps no process alive, and a HELLO must get its answer.
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), EARLY_HELLO_MS);
    await once(this.#arrivals, uid, { signal: late.signal }).catch(() => undefined);
    clearTimeout(timer);
    const machine = this.#live.get(uid);
    if (!machine) throw unknownStream(uid);
    return machine;
  }

  #admit({ uid, owner }: StreamRecord): void {
    if (this.#stopping)
      throw new SciStreamError('SCI_SHUTTING_DOWN', 'The control server is stopping and takes no new streams.');
    if (this.#live.has(uid)) {
      throw new SciStreamError('SCI_STREAM_EXISTS', `Stream ${uid} exists already.`, {
        suggestions: [
          'Use a new uid, or release the stream first. Both sides of a stream need a control server of their own.',
        ],
      });
    }
    const { streams, waiting } = this.counts();
    const own = [...this.#live.values()].filter(({ record }) => record.owner === owner && waits(record)).length;
    for (const [what, now, most] of [
      ['streams', streams, this.limits.streams],
      ['waiting', waiting, this.limits.waiting],
      ['waitingPerIdentity', own, owner.startsWith('none:') ? Infinity : this.limits.waitingPerIdentity],
    ] as const) {
      if (now < most) continue;
      throw new SciStreamError(
        'SCI_LIMIT_REACHED',
        `${now} of ${most} are taken: limits.${what} of this control server.`,
        {
          suggestions: ['Release streams that are no longer needed, or try again later.'],
        },
      );
    }
  }

  #addresses(texts: readonly string[], field: string): readonly Address[] {
    if (texts.length > MAX_TARGETS)
      throw new SciStreamError('SCI_TARGETS_INVALID', `${texts.length} addresses are too many.`);
    return texts.map((text) => parseAddress(text, field));
  }

  /**
   * A stream to be judged and then acted on. What is done is done through this machine: by the time the policy has decided,
   * another stream may have the uid. The record of a live one is there before it is written.
   */
  async #find(uid: string): Promise<{ readonly record: StreamRecord; readonly machine: StreamMachine | undefined }> {
    const machine = this.#live.get(parseUid(uid));
    const record = machine?.record ?? (await this.store.get(uid));
    if (!record) throw unknownStream(uid);
    return { record, machine };
  }

  async #view(record: StreamRecord): Promise<StreamSnapshot> {
    if (record.state !== 'provisioned' && record.state !== 'active' && record.state !== 'updating') return { record };
    try {
      return { record, status: await this.gateways.reachable(record.gateway).status(record.uid) };
    } catch (error) {
      // Not to be asked is not to have failed: a proxy or data server that is late may forward all the same.
      return { record, error: toSciStreamError(error) };
    }
  }
}

/** Whether a `req` still waits for HELLO. */
const waits = ({ state }: StreamRecord): boolean => state === 'reserving' || state === 'waiting';

/** The record of a request before the policy and the gateway have answered: nothing is granted or reserved. */
function newRecord(uid: string, spec: StreamSpec, gateway: string, identity: Identity, limits: Limits): StreamRecord {
  const now = Date.now();
  return {
    uid,
    version: 1,
    spec,
    state: 'reserving',
    owner: ownerOf(identity),
    gateway,
    proxy: spec.proxy,
    runtime: spec.runtime,
    listeners: [],
    announced: [],
    targets: [],
    rateEnforced: false,
    createdAt: new Date(now).toISOString(),
    expiresAt: new Date(now + (spec.lifetimeMs || limits.lifetimeMs)).toISOString(),
  };
}
