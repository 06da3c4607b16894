import { createHash } from 'node:crypto';
import { formatAddress, type Address, type Target } from '../contracts/address.js';
import { LABELS, type ContainerRuntime, type ContainerSpec } from '../contracts/container-runtime.js';
import type { PluginContext } from '../contracts/plugin.js';
import type { ReservedListener } from '../contracts/port-allocator.js';
import type { S2DSRequest } from '../contracts/s2ds.js';
import { ROLE_CODES } from '../contracts/stream.js';
import type { ProxyDescription, ProxyInstance, ProxyView } from './view.js';

/** One instance of a stream. Several instances may share the listeners of a stream. */
export interface Instance extends ProxyInstance {
  /** Number of the instance within the stream, from 0. */
  readonly index: number;
  readonly listeners: readonly ReservedListener[];
  readonly description: ProxyDescription;
}

/** Returns true if the program inherits its listening sockets from this process. */
export const inherits = ({ supports }: ContainerRuntime, { spec }: S2DSRequest): boolean =>
  supports.inheritSockets && spec.transport === 'tcp';

/**
 * Builds the view of one instance.
 * @param targets One per listener of the instance, or none.
 */
export function viewOf(
  runtime: ContainerRuntime,
  request: S2DSRequest,
  listeners: readonly ReservedListener[],
  targets: readonly Target[],
): ProxyView {
  const { uid, spec, tls, localAddress } = request;
  const { role, transport, bitsPerSecond, sources } = spec;
  const inherited = inherits(runtime, request);
  const bound = ({ host, port }: Address): Address =>
    runtime.supports.hostNetwork ? { host, port } : { host: host.includes(':') ? '::' : '0.0.0.0', port };
  return {
    uid,
    role,
    transport,
    listeners: listeners.map(({ address }, i) => ({ address: bound(address), ...(inherited ? { fd: 3 + i } : {}) })),
    targets,
    bitsPerSecond: bitsPerSecond || undefined,
    ...(tls ? { tls } : {}),
    ...(sources ? { sources } : {}),
    ...(localAddress !== undefined && runtime.supports.hostNetwork && { localAddress }),
  };
}

/** Hashes the part of a request that cannot change while an instance runs; targets can, so they are not part of it. */
export function specHash(proxy: string, request: S2DSRequest, listeners: readonly ReservedListener[]): string {
  const { spec, tls, node } = request;
  const { role, transport, sources } = spec;
  const addresses = listeners.map(({ address }) => formatAddress(address));
  const parts = [proxy, ROLE_CODES[role], transport, addresses, tls?.certificate, node, ...(sources ? [sources] : [])];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}

/**
 * Builds the spec of one instance.
 * @param proxy Name of the proxy.
 * @param sockets Descriptors that the program inherits.
 */
export function specOf(
  context: PluginContext,
  proxy: string,
  request: S2DSRequest,
  { index, listeners, description }: Pick<Instance, 'index' | 'listeners' | 'description'>,
  sockets: readonly number[],
): ContainerSpec {
  const { image, executable, args, files, stopSignal = 'SIGTERM' } = description;
  const { uid, spec, node } = request;
  const { role, transport } = spec;
  const labels = {
    [LABELS.managed]: 'true',
    [LABELS.gateway]: context.gateway,
    [LABELS.serverId]: context.serverId,
    [LABELS.uid]: uid,
    [LABELS.role]: ROLE_CODES[role],
    [LABELS.proxy]: proxy,
    [LABELS.specHash]: specHash(proxy, request, listeners),
  };
  return {
    name: instanceName(context.serverId, uid, index),
    image,
    executable,
    args,
    files,
    labels,
    sockets,
    stopSignal,
    listeners: listeners.map(({ address }) => address),
    transport,
    ...(node === undefined ? {} : { node }),
  };
}

/**
 * Returns the name of an instance: short, and with the first letters of the uid for the operator.
 * @param serverId Id of the daemon. Both sides of a stream may share a container engine.
 */
export function instanceName(serverId: string, uid: string, index: number): string {
  const hash = createHash('sha256').update(`${serverId} ${uid}`).digest('hex').slice(0, 8);
  return `scistream-${uid.slice(0, 8).toLowerCase()}-${hash}-${index}`;
}

/** Distributes the listeners of a stream to `count` instances: listener i belongs to instance i mod count. */
export function split<T>(items: readonly T[], count: number): T[][] {
  const shards: T[][] = Array.from({ length: Math.min(count, items.length) }, () => []);
  items.forEach((item, i) => shards[i % shards.length]?.push(item));
  return shards;
}

/** Joins values per listener of all instances in the order of the listeners. Inverse of {@link split}. */
export function join<T>(shards: readonly (readonly T[])[]): T[] {
  const longest = Math.max(0, ...shards.map((shard) => shard.length));
  return Array.from({ length: longest }, (_, i) => shards.flatMap((shard) => shard.slice(i, i + 1))).flat();
}

/**
 * Selects the targets of one instance.
 * @param shard Listeners of the instance.
 * @param all One target per listener of the stream, or none.
 */
export function targetsOf(
  { listeners }: S2DSRequest,
  shard: readonly ReservedListener[],
  all: readonly Target[],
): readonly Target[] {
  const addresses = listeners.map(({ address }) => formatAddress(address));
  return shard.flatMap(({ address }) => all[addresses.indexOf(formatAddress(address))] ?? []);
}
