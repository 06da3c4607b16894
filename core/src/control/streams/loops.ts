import { addressesOf, formatAddress, type Address, type Target } from '../../contracts/address.js';
import { SciStreamError } from '../../contracts/errors.js';
import { endpointsOf } from '../../contracts/network.js';
import { uidForOwner, type StreamRecord } from '../../contracts/stream.js';
import type { OwnAddresses } from '../parts/own-addresses.js';

/**
 * Rejects targets that lead back to this facility: to its daemons, to ports of its gateways without a listener, and through
 * other streams to the stream itself. Also rejects moves that give a stream a listener to which its targets lead. Loops through another facility are not visible here; the limits of connections of
 * the proxies bound them.
 */
export class Loops {
  /** Targets of updates in progress, which no record has yet. */
  readonly #claims = new Set<{ readonly uid: string; readonly targets: readonly Address[] }>();
  /** Listeners of moves in progress, which no record has yet. */
  readonly #moves = new Set<{ readonly stream: StreamRecord; readonly listeners: readonly Address[] }>();

  /** @param records Returns the records of all live streams */
  constructor(
    private readonly own: OwnAddresses,
    private readonly records: () => readonly StreamRecord[],
  ) {}

  /** Those of some targets that are listeners of other streams of the same owner. */
  siblings({ uid, owner }: StreamRecord, targets: readonly Address[]): readonly Address[] {
    const streamAt = this.#listenersAt(targets);
    return targets.filter((target) => {
      const other = streamAt(target);
      return other !== undefined && other.uid !== uid && other.owner === owner;
    });
  }

  /** What a probe of a stream connects to: its distinct targets, or a probe port beside one of them. */
  probed(record: StreamRecord, probe: Address | undefined): Record<'targets' | 'listeners', readonly Address[]> {
    const targets = [
      ...new Map(record.targets.flatMap(addressesOf).map((target) => [formatAddress(target), target])).values(),
    ];
    const listeners = this.siblings(record, targets);
    if (!probe) return { targets, listeners };
    return { targets: [probe], listeners: listeners.some(({ host }) => host === probe.host) ? [probe] : [] };
  }

  /**
   * Checks the new targets of a stream and counts them as its targets, so that two concurrent updates cannot close a loop.
   * @returns Ends the claim. Call it when the update is over
   * @throws SCI_TARGETS_INVALID
   */
  claim(stream: StreamRecord, targets: readonly Target[]): () => void {
    const { uid } = stream;
    const addresses = targets.flatMap(addressesOf);
    const streamAt = this.#listenersAt(addresses);
    for (const target of addresses) {
      const reserved = this.own.reserved(target);
      if (reserved && !streamAt(target)) throw isReserved(target, reserved);
    }
    if (this.#leadTo(uid, addresses)) throw isLoop(uidForOwner(stream));
    const claim = { uid, targets: addresses };
    this.#claims.add(claim);
    return () => void this.#claims.delete(claim);
  }

  /**
   * Checks the listeners that a stream gets on another gateway, and counts them as its listeners: a stream may still have
   * the same address of an earlier stream as its target.
   * @returns Ends the claim. Call it when the move is over
   * @throws SCI_TARGETS_INVALID
   */
  claimListeners(stream: StreamRecord, listeners: readonly Address[]): () => void {
    const move = { stream, listeners };
    this.#moves.add(move);
    const end = (): void => void this.#moves.delete(move);
    if (!this.#leadTo(stream.uid, this.#targetsOf(stream))) return end;
    end();
    throw isLoop(uidForOwner(stream));
  }

  /** Whether targets lead to a listener of a stream, directly or through other streams. */
  #leadTo(uid: string, targets: readonly Address[]): boolean {
    const seen = new Set<string>();
    for (let next = targets; next.length > 0;) {
      const streamAt = this.#listenersAt(next);
      const reached = new Set(next.flatMap((target) => streamAt(target) ?? []));
      if ([...reached].some((record) => record.uid === uid)) return true;
      const fresh = [...reached].filter((record) => !seen.has(record.uid));
      for (const record of fresh) seen.add(record.uid);
      next = fresh.flatMap((record) => this.#targetsOf(record));
    }
    return false;
  }

  #targetsOf({ uid, targets, asked = [] }: StreamRecord): readonly Address[] {
    const claimed = [...this.#claims].filter((claim) => claim.uid === uid);
    return [...[...targets, ...asked].flatMap(addressesOf), ...claimed.flatMap((claim) => claim.targets)];
  }

  /** Finds the stream that listens at one of some addresses. Only the listeners with their ports are compared. */
  #listenersAt(addresses: readonly Address[]): (address: Address) => StreamRecord | undefined {
    const ports = new Set(addresses.map(({ port }) => port));
    const found = new Map<string, StreamRecord>();
    const add = (record: StreamRecord, listeners: readonly Address[]): void => {
      for (const listener of listeners) {
        if (!ports.has(listener.port)) continue;
        for (const key of this.own.boundTo(listener).flatMap(endpointsOf)) found.set(key, record);
      }
    };
    for (const record of this.records()) add(record, [...record.listeners, ...(record.leaving?.listeners ?? [])]);
    for (const { stream, listeners } of this.#moves) add(stream, listeners);
    return (address) => endpointsOf(address).flatMap((key) => found.get(key) ?? [])[0];
  }
}

function isReserved(target: Address, what: string): SciStreamError {
  return new SciStreamError('SCI_TARGETS_INVALID', `Target ${formatAddress(target)} is in use by ${what}.`, {
    suggestions: ['Give the listen address of the application, as an IP address, with a port outside the range.'],
  });
}

const isLoop = (uid: string): SciStreamError =>
  new SciStreamError('SCI_TARGETS_INVALID', `The targets lead back to a listener of stream ${uid}.`, {
    suggestions: ['Give the listen address of the application or of the other gateway.'],
  });
