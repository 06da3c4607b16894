import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { quote, SciStreamError } from '../contracts/errors.js';
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

/**
 * Removes a stream whose release fails from the records of a gateway, so that its ports and its uid are free at the next
 * start. Does not end what still forwards data. The control server then ends its own record of the stream.
 * @param state State directory of the stopped daemon of the gateway.
 * @throws SCI_STREAM_NOT_FOUND; SCI_STREAM_STATE unless the stream is being released; as {@link readState}
 */
export async function forgetStream(state: string, uid: string): Promise<void> {
  const { gateway } = await readState(state);
  if (gateway.length === 0) throw unknownHere(state, uid);
  const store = await GatewayStore.open(join(state, 'gateway'));
  try {
    const record = store.get(uid);
    if (!record) throw unknownHere(state, uid);
    if (record.state !== 'releasing') {
      throw new SciStreamError('SCI_STREAM_STATE', `Stream ${uid} is ${record.state}, and not being released.`, {
        suggestions: [`Start the daemon, and release the stream: scistream stream down ${uid}`],
      });
    }
    const since = new Date().toISOString();
    await store.removeCredentials(uid);
    await store.delete(
      uid,
      record.listeners.map(({ port }) => ({ port, since })),
    );
  } finally {
    await store.close();
  }
}

const unknownHere = (state: string, uid: string): SciStreamError =>
  new SciStreamError('SCI_STREAM_NOT_FOUND', `The gateway with state ${state} has no stream ${quote(uid)}.`, {
    suggestions: ['List its streams: scistream state export'],
  });
