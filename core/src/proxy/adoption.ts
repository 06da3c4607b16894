import { LABELS, type ContainerRef, type ContainerState } from '../contracts/container-runtime.js';
import type { PluginContext } from '../contracts/plugin.js';
import type { ReservedListener } from '../contracts/port-allocator.js';
import type { S2DSRequest } from '../contracts/s2ds.js';
import { specHash } from './instance.js';
import { instanceName, split } from './shards.js';

/** What an instance of a stream has become since an earlier process started it. */
export interface Part {
  readonly ref: ContainerRef;
  readonly index: number;
  readonly listeners: readonly ReservedListener[];
  readonly state: ContainerState;
  /** Whether it was started for these listeners, and as asked. */
  readonly made: boolean;
}

/** Whether it does what the stream needs. */
export const serves = ({ made, state }: Part): boolean => made && state.status === 'running';

/**
 * The instances that a stream was started with. How many these were is written nowhere, and the configuration may say
 * something else by now: it is the number of which most are found.
 * @param found Instances of this owner and uid, in whatever state.
 * @param likely The number where several fit as well.
 */
export function partsOf(
  { owner }: PluginContext,
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
      const made =
        state.labels[LABELS.owner] === owner && state.labels[LABELS.specHash] === specHash(proxy, request, listeners);
      return { ref: { name }, index, listeners, state, made };
    });
  const many = (all: readonly Part[]): number => all.filter(({ made }) => made).length;
  const others = request.listeners.map((_, i) => parts(i + 1));
  return others.reduce((best, other) => (many(other) > many(best) ? other : best), parts(likely));
}
