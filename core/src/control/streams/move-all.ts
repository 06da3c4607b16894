import pLimit from 'p-limit';
import { toSciStreamError } from '../../contracts/errors.js';
import type { StreamMoved } from '../../contracts/stream.js';
import type { GatewayWish } from '../gateways/pool.js';
import type { StreamMachine } from './machine.js';

/** Streams being moved at once: each starts a proxy. */
const CONCURRENT_MOVES = 4;

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
    const { gateway: from, spec } = machine.record;
    const { movable, connections, bitsPerSecond } = spec;
    const wish = { gateway: '', ports: connections, bitsPerSecond };
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
