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

/** Returns counters with value zero. */
export function newCounters(): Counters {
  return { connections: 0, open: 0, established: 0, bytesIn: 0, bytesOut: 0, errors: 0, refused: 0 };
}

/** Returns true if both addresses are equal, or both undefined. */
export function sameAddress(a: RelayAddress | undefined, b: RelayAddress | undefined): boolean {
  return a?.host === b?.host && a?.port === b?.port;
}
