import pLimit from 'p-limit';
import type { GatewayWish } from '../data/gateway-pool.js';
import { toSciStreamError, type SciStreamError } from '../errors.js';
import type { StreamRecord } from '../stream-store.js';
import type { StreamMachine } from './stream-machine.js';

/** Streams being moved at once: each starts a proxy. */
const CONCURRENT_MOVES = 4;

/** What became of a stream of a gateway that should be left. */
export interface StreamMoved {
  /** As it is now. */
  readonly record: StreamRecord;
  readonly from: string;
  /** Whether it is somewhere else now. */
  readonly moved: boolean;
  /** Why it could not be moved; a stream that is not movable stays without one. */
  readonly error?: SciStreamError;
}

/**
 * Moves the movable streams among these, and tells of each what became of it. When nobody listens any more, those not
 * yet begun are left alone.
 * @param place Chooses a gateway that has what a stream needs.
 * @param graceMs How long what is open on the gateway of before may stay there.
 * @param by Who wants that.
 */
export async function* moveAll(
  machines: readonly StreamMachine[],
  place: (wish: GatewayWish, take: (gateway: string) => void) => Promise<void>,
  graceMs: number,
  by: string,
): AsyncGenerator<StreamMoved> {
  const limit = pLimit(CONCURRENT_MOVES);
  const one = async (machine: StreamMachine): Promise<StreamMoved> => {
    const { gateway: from, movable, listeners, bitsPerSecond } = machine.record;
    const wish = { gateway: '', ports: listeners.length, bitsPerSecond };
    if (!movable) return { record: machine.record, from, moved: false };
    try {
      return { record: await machine.move((take) => place(wish, take), graceMs, by), from, moved: true };
    } catch (error) {
      return { record: machine.record, from, moved: false, error: toSciStreamError(error) };
    }
  };
  const all = machines.map((machine) => limit(() => one(machine)));
  try {
    for (const next of all) yield await next;
  } finally {
    limit.clearQueue();
  }
}
