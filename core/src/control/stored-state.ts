import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SciStreamError } from '../contracts/errors.js';
import type { StreamEvent, StreamRecord } from '../contracts/stream.js';
import { GatewayStore } from '../gateway/store.js';
import { LevelStreamStore } from '../store/level-stream-store.js';

/** The stored state of a daemon, without secrets. */
export interface StoredState {
  readonly state: string;
  /** Streams of a control server. */
  readonly streams: readonly (StreamRecord & { readonly events: readonly StreamEvent[] })[];
  /** Streams of a gateway. */
  readonly gateway: readonly object[];
}

/**
 * Reads the complete stored state of a daemon.
 * @param state State directory.
 * @throws SCI_CONFIG_INVALID without a state; SCI_STATE_LOCKED while the daemon runs; SCI_STATE_DAMAGED, SCI_STATE_NEWER
 */
export async function readState(state: string): Promise<StoredState> {
  try {
    return await read(state);
  } catch (error) {
    if (!SciStreamError.is(error) || error.code !== 'SCI_STATE_LOCKED') throw error;
    const suggestions = [
      'Stop the daemon of this configuration first. Its streams keep running unless it has --release-on-exit.',
    ];
    throw new SciStreamError(error.code, error.message, { cause: error, suggestions });
  }
}

async function read(state: string): Promise<StoredState> {
  const gatewayState = join(state, 'gateway');
  const has = (directory: string): boolean => existsSync(join(directory, 'db'));
  if (!has(state) && !has(gatewayState)) {
    throw new SciStreamError('SCI_CONFIG_INVALID', `state: ${state} contains no stored state of a daemon.`, {
      suggestions: ['Pass the configuration of the daemon: --config s2cs.conf'],
    });
  }
  const streams = [];
  if (has(state)) {
    const store = new LevelStreamStore(state);
    await store.open();
    for (const record of await store.list()) streams.push({ ...record, events: await store.events(record.uid) });
    await store.close();
  }
  if (!has(gatewayState)) return { state, streams, gateway: [] };
  const store = await GatewayStore.open(gatewayState);
  const gateway = store.exported();
  await store.close();
  return { state, streams, gateway };
}
