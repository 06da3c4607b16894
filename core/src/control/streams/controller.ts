import { EventEmitter, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import pLimit from 'p-limit';
import { inject, injectable } from 'tsyringe';
import type { Address } from '../../contracts/address.js';
import { type Identity, ownerOf } from '../../contracts/authenticator.js';
import { toSciStreamError } from '../../contracts/errors.js';
import type { Gateway, GatewayStatus } from '../../contracts/gateway.js';
import type { Logger } from '../../contracts/logger.js';
import type { Policy } from '../../contracts/policy.js';
import type { StreamStore } from '../../contracts/stream-store.js';
import {
  parseUid,
  type StreamSpec,
  type StreamTls,
  isFinal,
  type StreamRecord,
  type StreamMoved,
  uidForOwner,
  unknownStream,
} from '../../contracts/stream.js';
import { formatDuration } from '../../contracts/units.js';
import { parseReason } from '../gateways/drains.js';
import { GatewayPool, type PlacementRequest, type Placement } from '../gateways/pool.js';
import type { OwnAddresses } from '../parts/own-addresses.js';
import type { Limits } from '../parts/settings.js';
import { TOKENS } from '../parts/tokens.js';
import { parseProducers, parseTargets } from './addresses.js';
import { EventFeed } from './event-feed.js';
import { ended, released, stopping, waits } from './life.js';
import { StreamLookup } from './lookup.js';
import { Loops } from './loops.js';
import { StreamMachine } from './machine.js';
import { moveAll } from './move.js';
import { asGranted, checkLimits, isRepeated, newRecord, requestAction } from './new-stream.js';
import { StreamViews } from './views.js';

/** How long a HELLO that arrives before its request waits for it, ms. */
const EARLY_HELLO_MS = 2_000;
/** How long a start waits until the streams of an earlier process are recovered, ms. Recovery continues after that. */
const RESUME_MS = 3_000;

/**
 * All streams of a control server, one {@link StreamMachine} each. Methods may be called concurrently, after authentication.
 * Each one parses its input, checks the policy, and only then changes anything.
 */
@injectable()
export class StreamController {
  readonly #live = new Map<string, StreamMachine>();
  /** Emits the owner and the uid of every new request. None is called `error`. */
  readonly #arrivals = new EventEmitter().setMaxListeners(0);
  readonly #admissions = pLimit(1);
  readonly #lookup: StreamLookup;
  readonly #loops: Loops;
  /** The events of streams, for callers that follow them. */
  readonly feed: EventFeed;
  /** What callers may see of streams. */
  readonly views: StreamViews;
  #stopping = false;

  constructor(
    @inject(TOKENS.Limits) private readonly limits: Limits,
    @inject(TOKENS.StreamStore) private readonly store: StreamStore,
    @inject(TOKENS.Policy) private readonly policy: Policy,
    @inject(GatewayPool) private readonly gateways: GatewayPool,
    @inject(TOKENS.OwnAddresses) own: OwnAddresses,
    @inject(TOKENS.Logger) private readonly log: Logger,
  ) {
    this.#lookup = new StreamLookup(this.#live, store);
    this.feed = new EventFeed({ store, lookup: this.#lookup, policy });
    this.views = new StreamViews({ lookup: this.#lookup, policy, store, gateways, records: () => this.records });
    this.#loops = new Loops(own, () => this.records);
  }

  /**
   * Recovers the streams of an earlier process. Called once, first.
   * @throws What opening the store or a gateway raises
   */
  async open(): Promise<void> {
    await this.policy.load?.();
    await this.store.open();
    const left = (await this.store.list()).filter(({ state }) => !isFinal(state));
    await this.gateways.open(left.flatMap(({ gateway, leaving }) => [gateway, ...(leaving ? [leaving.gateway] : [])]));
    const resumed = Promise.all(left.map((record) => this.#machine(record).resume()));
    // A gateway that does not answer must not delay the others.
    const settled = await Promise.race([resumed.then(() => true), sleep(RESUME_MS, false, { ref: false })]);
    if (!settled)
      this.log.warn(
        { streams: left.length },
        `not all streams recovered within ${formatDuration(RESUME_MS)}, continuing`,
      );
    await this.gateways.begin(() => [...this.#live.values()].flatMap(({ loads }) => loads));
    if (settled && left.length > 0) this.log.info({ streams: left.length }, 'streams recovered');
  }

  /**
   * REQ: reserves listeners and waits for HELLO.
   * @param tls Credentials, where `spec.encryption` is `tls`.
   * @param client Aborts when the caller disconnects.
   */
  async request(
    requested: string,
    spec: StreamSpec,
    tls: StreamTls | undefined,
    identity: Identity,
    client: AbortSignal,
  ): Promise<StreamRecord> {
    const owner = ownerOf(identity);
    const asked = { ...spec, gateway: this.gateways.parse(spec.gateway) };
    // One after another, so that two concurrent requests cannot both get the last capacity.
    const machine = await this.#admissions(async () => {
      const uid = await this.#lookup.uidFor(owner, requested);
      const known: Placement | undefined = this.#live.get(uid)?.record;
      const { connections, bitsPerSecond } = asked;
      const { gateway, refusal } =
        known ?? this.gateways.place({ gateway: asked.gateway, ports: connections, bitsPerSecond });
      const wanted = newRecord(uid, requested, asked, gateway, identity, this.limits);
      const granted = await this.policy.check(identity, requestAction(wanted, this.records));
      if (refusal) throw refusal;
      const record = asGranted(wanted, granted);
      const live = this.#live.get(uid);
      // Sent again, because this control server restarted before it answered.
      if (live?.lostRequest && isRepeated(record, live.record)) return live;
      if (this.#stopping) throw stopping();
      checkLimits(record, this.records, this.limits, this.gateways.ports);
      const created = this.#machine(record);
      created.begin(tls);
      this.#arrivals.emit(`${owner} ${requested}`);
      this.log.info({ uid, role: spec.role, owner, connections, gateway }, 'stream requested');
      return created;
    });
    return await machine.untilHello(client);
  }

  /** HELLO: the role of the stream is that of its request. */
  async hello(uid: string, announced: readonly string[], identity: Identity): Promise<StreamRecord> {
    const machine = (await this.#lookup.seek(parseUid(uid), identity))?.machine ?? (await this.#arrival(uid, identity));
    await this.policy.check(identity, { kind: 'hello', stream: machine.record });
    let addresses: readonly Address[];
    try {
      addresses = parseProducers(announced, machine.record.spec.connections);
    } catch (error) {
      // Existing clients wait for `req` to end, so a rejected HELLO must end it too. A repeated HELLO ends nothing.
      if (waits(machine.record)) await machine.release(toSciStreamError(error));
      throw error;
    }
    return await machine.hello(addresses, ownerOf(identity));
  }

  /** UPDATE: listener i forwards to target i mod the number of targets. */
  async update(uid: string, targets: readonly string[], identity: Identity): Promise<StreamRecord> {
    parseUid(uid);
    // Before the lookup: the answer to other callers must not depend on whether the stream exists.
    const addresses = parseTargets(uid, targets);
    const { record, machine } = await this.#lookup.find(uid, identity);
    const listeners = this.#loops.siblings(record, addresses);
    const action = { kind: 'update', stream: record, targets: addresses, listeners } as const;
    const { targets: judged = addresses } = await this.policy.check(identity, action);
    if (!machine) throw ended(record);
    const done = this.#loops.claim(record, judged);
    try {
      // Further targets have no listener.
      return await machine.update(judged.slice(0, record.spec.connections), ownerOf(identity));
    } finally {
      done();
    }
  }

  /**
   * Finds the gateway of a stream for a probe, its uid there, and whether the caller may learn why a target was not
   * reached.
   * @param probe The probe port of the other gateway. Absent: the targets of the stream
   * @throws SCI_FORBIDDEN, SCI_STREAM_NOT_FOUND
   */
  async prober(
    asked: string,
    identity: Identity,
    probe?: Address,
  ): Promise<{ gateway: Gateway; uid: string; reasons: boolean }> {
    const { record, machine } = await this.#lookup.find(asked, identity);
    const { uid } = record;
    const probed = this.#loops.probed(record, probe);
    const { reasons = true } = await this.policy.check(identity, { kind: 'probe', stream: record, ...probed });
    if (!machine || machine !== this.#live.get(uid)) throw unknownStream(asked);
    return { gateway: this.gateways.of(machine.record.gateway), uid, reasons };
  }

  /** Checks that a change of a stream can be stored. @throws SCI_STATE_WRITE */
  async check(): Promise<void> {
    await this.store.check?.();
  }

  /** RELEASE: idempotent while the record of the stream exists. */
  async release(uid: string, identity: Identity): Promise<StreamRecord> {
    const { record, machine } = await this.#lookup.find(uid, identity);
    await this.policy.check(identity, { kind: 'release', stream: record });
    if (machine) return await machine.release(released(uidForOwner(record)), ownerOf(identity));
    if (record.state === 'failed') await this.gateways.freePorts(record);
    return record;
  }

  /**
   * Drains a gateway, or ends that.
   * @param reason Why it is drained. Empty: the reason of an earlier call remains
   * @throws SCI_FORBIDDEN, SCI_NAME_INVALID, SCI_USAGE, SCI_STATE_WRITE
   */
  async drain(gateway: string, drained: boolean, identity: Identity, reason = ''): Promise<GatewayStatus> {
    await this.policy.check(identity, { kind: 'drain', gateway });
    const status = await this.gateways.drain(gateway, drained, parseReason(reason));
    this.log.info({ gateway, drained, reason, by: ownerOf(identity) }, 'gateway drain state changed');
    return status;
  }

  /**
   * Drains a gateway and moves its movable streams to others.
   * @param graceMs How long open connections may stay there. @throws As `drain`
   */
  async *move(gateway: string, graceMs: number, identity: Identity): AsyncGenerator<StreamMoved> {
    await this.drain(gateway, true, identity);
    const streams = [...this.#live.values()].filter(({ record }) => record.gateway === gateway);
    const place = (request: PlacementRequest, take: (gateway: string) => void): Promise<void> =>
      this.#admissions(() => {
        const { gateway: name, refusal } = this.gateways.place(request);
        if (refusal) throw refusal;
        take(name);
      });
    yield* moveAll(streams, place, Math.min(graceMs, this.limits.lifetimeMs), ownerOf(identity));
  }

  counts(): { readonly streams: number; readonly waiting: number } {
    const records = this.records;
    return { streams: records.length, waiting: records.filter(waits).length };
  }

  /**
   * Rejects new streams and ends waiting requests. Called last; may be repeated.
   * @param release Whether to release every stream too. Otherwise they keep running for the next process.
   * @throws The first error of a release, after all were tried
   */
  async close(release: boolean): Promise<void> {
    this.#stopping = true;
    const ends = [...this.#live.values()].map((machine) => {
      if (!release) return machine.detach(stopping());
      return machine.release(waits(machine.record) ? stopping() : released(uidForOwner(machine.record)));
    });
    const failed = (await Promise.allSettled(ends)).find((end) => end.status === 'rejected');
    await this.gateways.close();
    await this.store.close();
    this.policy.close?.();
    if (failed) throw failed.reason;
  }

  /** The records of all live streams. */
  get records(): readonly StreamRecord[] {
    return [...this.#live.values()].map(({ record }) => record);
  }

  #machine(record: StreamRecord): StreamMachine {
    const machine = new StreamMachine(record, {
      store: this.store,
      gatewayOf: (name) => this.gateways.of(name),
      onStray: (gateway) => this.gateways.recheck(gateway),
      log: this.log,
      helloTimeoutMs: this.limits.helloTimeoutMs,
      claimListeners: (stream, listeners) => this.#loops.claimListeners(stream, listeners),
      onEnd: (uid) => void this.#live.delete(uid),
    });
    this.#live.set(record.uid, machine);
    return machine;
  }

  /** Waits for the request of a HELLO that has arrived first, and as long for one that nobody sends. */
  async #arrival(uid: string, identity: Identity): Promise<StreamMachine> {
    // Not AbortSignal.timeout: its timer does not keep the process alive, and a HELLO must get its answer.
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), EARLY_HELLO_MS);
    const arrived = once(this.#arrivals, `${ownerOf(identity)} ${uid}`, { signal: late.signal }).catch(() => undefined);
    // It may have arrived since the first lookup.
    if (!(await this.#lookup.seek(uid, identity))?.machine) await arrived;
    late.abort();
    clearTimeout(timer);
    const { record, machine } = await this.#lookup.find(uid, identity);
    if (machine) return machine;
    await this.policy.check(identity, { kind: 'hello', stream: record });
    throw unknownStream(uid);
  }
}
