import type { ListenerStatus, RelayAddress } from './protocol.js';

/** The live counters behind {@link ListenerStatus}: incremented on every read, so open connections are always in them. */
export type Counters = { -readonly [K in keyof ListenerStatus]: ListenerStatus[K] };

/** What the worker does with a listener of either transport. */
export interface Listener {
  readonly counters: Counters;
  /** Binds and accepts; call once. Rejects with the bind error of the operating system. */
  listen(): Promise<void>;
  /** Sends what is new to `target`, or holds (TCP) or drops (UDP) it when undefined. May be called at any time. */
  retarget(target: RelayAddress | undefined): void;
}

/** Counters at zero. */
export function newCounters(): Counters {
  return { connections: 0, open: 0, established: 0, bytesIn: 0, bytesOut: 0, errors: 0, refused: 0 };
}

/** Whether both are the same address, or both unknown. */
export function sameAddress(a: RelayAddress | undefined, b: RelayAddress | undefined): boolean {
  return a?.host === b?.host && a?.port === b?.port;
}
