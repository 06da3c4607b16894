import type { ListenerStatus, RelayAddress, RelayTarget } from './protocol.js';

/** Counters behind {@link ListenerStatus}. Every read increments them, so they include open connections. */
export type Counters = { -readonly [K in keyof ListenerStatus]: ListenerStatus[K] };

/** A listener of the worker, for TCP or UDP. */
export interface Listener {
  readonly counters: Counters;
  /** Binds the address and accepts clients. Call it once. Rejects with the system error. */
  listen(): Promise<void>;
  /**
   * Sets the target of new connections (TCP) or of all datagrams (UDP). Undefined holds connections and drops
   * datagrams.
   */
  retarget(target: RelayTarget | undefined): void;
}

/** A cause of failures. */
export type Cause = 'unreachable' | 'handshakeFailed' | 'resetByConsumer' | 'resetByProducer' | 'limitReached';

/** Returns counters with value zero. */
export function newCounters(): Counters {
  return {
    connections: 0,
    open: 0,
    established: 0,
    bytesIn: 0,
    bytesOut: 0,
    errors: 0,
    unreachable: 0,
    unreachableNow: 0,
    handshakeFailed: 0,
    resetByConsumer: 0,
    resetByProducer: 0,
    limitReached: 0,
    limitReachedNow: 0,
    refused: 0,
  };
}

/** Counts one failure. Undefined: none of the causes applies. */
export function countFailure(counters: Counters, cause: Cause | undefined): void {
  counters.errors += 1;
  if (cause === undefined) return;
  counters[cause] += 1;
  if (cause === 'unreachable') counters.unreachableNow += 1;
  if (cause === 'limitReached') counters.limitReachedNow += 1;
}

/** Notes that a connection has reached the target. */
export function countReached(counters: Counters): void {
  counters.unreachableNow = 0;
  counters.limitReachedNow = 0;
}

/** Open files of the process or the host, local ports, and memory of the kernel. */
const LIMITS = ['EMFILE', 'ENFILE', 'EADDRNOTAVAIL', 'ENOBUFS', 'ENOMEM'];

/** Returns the cause of a failed attempt to reach a target. */
export const causeOf = ({ code = '' }: NodeJS.ErrnoException): 'unreachable' | 'limitReached' =>
  LIMITS.includes(code) ? 'limitReached' : 'unreachable';

/** Returns true if both addresses are equal, or both undefined. */
export function sameAddress(a: RelayAddress | undefined, b: RelayAddress | undefined): boolean {
  return a?.host === b?.host && a?.port === b?.port;
}

/** Returns true if both targets have the same addresses in the same order, or are undefined. */
export function sameTarget(a: RelayTarget | undefined, b: RelayTarget | undefined): boolean {
  const [further, others] = [a?.fallbacks ?? [], b?.fallbacks ?? []];
  const same = further.length === others.length && further.every((address, i) => sameAddress(address, others[i]));
  return same && sameAddress(a, b);
}
