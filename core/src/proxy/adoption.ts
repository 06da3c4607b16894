import { LABELS, type ContainerRef, type ContainerState } from '../contracts/container-runtime.js';
import type { PluginContext } from '../contracts/plugin.js';
import type { ReservedListener } from '../contracts/port-allocator.js';
import type { S2DSRequest } from '../contracts/s2ds.js';
import { instanceName, specHash, split } from './instance.js';

/** One instance of a stream that a previous process started. */
export interface Part {
  readonly ref: ContainerRef;
  readonly index: number;
  readonly listeners: readonly ReservedListener[];
  readonly state: ContainerState;
  /** True if the instance was started for these listeners and this request. */
  readonly matches: boolean;
}

/** Returns true if the instance runs and matches the request. */
export const serves = ({ matches, state }: Part): boolean => matches && state.status === 'running';

/**
 * Finds the instances of a stream after a restart of the daemon.
 * @param likely Number of instances according to the configuration, which may have changed since.
 * @returns the parts, and the found instances that belong to no part
 */
export async function findParts(
  context: PluginContext,
  proxy: string,
  request: S2DSRequest,
  likely: number,
): Promise<{ readonly parts: readonly Part[]; readonly strays: readonly ContainerRef[] }> {
  const { owner, runtime } = context;
  let found = await inspectInOrder(context, request.uid);
  let parts = partsOf(owner, proxy, request, found, likely);
  if (!parts.every(serves)) {
    // Only a list finds instances after a missing one. It is slow on a gateway with many streams.
    found = await runtime.list({ [LABELS.owner]: owner, [LABELS.uid]: request.uid });
    parts = partsOf(owner, proxy, request, found, likely);
  }
  if (!parts.some(serves)) parts = [];
  return { parts, strays: found.filter(({ name }) => !parts.some(({ ref }) => ref.name === name)) };
}

/** Inspects the instances 0, 1, 2 … up to the first that does not exist. */
async function inspectInOrder({ owner, runtime }: PluginContext, uid: string): Promise<readonly ContainerState[]> {
  const states: ContainerState[] = [];
  for (;;) {
    const state = await runtime.inspect({ name: instanceName(owner, uid, states.length) });
    if (state.status === 'absent') return states;
    states.push(state);
  }
}

/**
 * Assigns the found instances to the listeners. No record says with how many instances the stream was started, so the
 * number with the most matches wins, and `likely` if several numbers match equally.
 */
function partsOf(
  owner: string,
  proxy: string,
  request: S2DSRequest,
  found: readonly ContainerState[],
  likely: number,
): readonly Part[] {
  const states = new Map(found.map((state) => [state.name, state]));
  const parts = (count: number): readonly Part[] =>
    split(request.listeners, count).map((listeners, index) => {
      const name = instanceName(owner, request.uid, index);
      const state = states.get(name) ?? { name, status: 'absent', labels: {} };
      const hash = specHash(proxy, request, listeners);
      const matches = state.labels[LABELS.owner] === owner && state.labels[LABELS.specHash] === hash;
      return { ref: { name }, index, listeners, state, matches };
    });
  const count = (all: readonly Part[]): number => all.filter(({ matches }) => matches).length;
  const others = request.listeners.map((_, i) => parts(i + 1));
  return others.reduce((best, other) => (count(other) > count(best) ? other : best), parts(likely));
}
