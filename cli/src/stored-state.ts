import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SciStreamError } from '@scistream/core';
import type { StreamEvent, StreamRecord } from '@scistream/core/server';

/** What a daemon has stored; secrets are left out. */
export interface StoredState {
  readonly state: string;
  /** Of a control server. */
  readonly streams: readonly (StreamRecord & { readonly events: readonly StreamEvent[] })[];
  /** Of a gateway. */
  readonly gateway: readonly object[];
}

/**
 * Reads all that a daemon has stored, which proves that it can be read.
 * @param state Its state directory.
 * @throws SCI_CONFIG_INVALID when there is none; SCI_STATE_LOCKED while the daemon runs; SCI_STATE_DAMAGED, SCI_STATE_NEWER
 */
export async function readState(state: string): Promise<StoredState> {
  const { GatewayStore, LevelStreamStore } = await import('@scistream/core/server');
  const gatewayState = join(state, 'gateway');
  const has = (directory: string): boolean => existsSync(join(directory, 'db'));
  if (!has(state) && !has(gatewayState)) {
    throw new SciStreamError('SCI_CONFIG_INVALID', `state: no daemon has stored anything in ${state}.`, {
      suggestions: ['Name the configuration of the daemon: --config s2cs.conf'],
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
