import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { formatAddress, type Address } from '../contracts/address.js';
import {
  LABELS,
  type ContainerRef,
  type ContainerRuntime,
  type ContainerSpec,
} from '../contracts/container-runtime.js';
import { messageOf, S2DSException } from '../contracts/errors.js';
import type { PluginContext } from '../contracts/plugin.js';
import type { ReservedListener } from '../contracts/port-allocator.js';
import type { S2DSRequest } from '../contracts/s2ds.js';
import { ROLE_CODES } from '../contracts/stream.js';
import { poll } from '../contracts/wait.js';
import { instanceName } from './shards.js';
import type { ProxyDescription, ProxyInstance, ProxyView } from './view.js';

const READY_TIMEOUT_MS = 15_000;
const LOG_LINES = 10;

/** An instance of a stream and what it is made from; several share the listeners of a stream. */
export interface Instance extends ProxyInstance {
  readonly index: number;
  readonly listeners: readonly ReservedListener[];
  readonly description: ProxyDescription;
}

/** Whether the program of a stream gets its listening sockets from this process. */
export const inherits = ({ supports }: ContainerRuntime, { transport }: S2DSRequest): boolean =>
  supports.inheritSockets && transport === 'tcp';

/** @param targets One per listener, or none. */
export function viewOf(
  runtime: ContainerRuntime,
  request: S2DSRequest,
  listeners: readonly ReservedListener[],
  targets: readonly Address[],
): ProxyView {
  const { uid, role, transport, bitsPerSecond, tls, sources } = request;
  const inherited = inherits(runtime, request);
  const bound = ({ host, port }: Address): Address =>
    runtime.supports.hostNetwork ? { host, port } : { host: host.includes(':') ? '::' : '0.0.0.0', port };
  return {
    uid,
    role,
    transport,
    listeners: listeners.map(({ address }, i) => ({ address: bound(address), ...(inherited ? { fd: 3 + i } : {}) })),
    targets,
    bitsPerSecond,
    ...(tls ? { tls } : {}),
    ...(sources ? { sources } : {}),
  };
}

/** What tells an instance apart from one that would have to be replaced; not its targets, which change while it runs. */
export function specHash(proxy: string, request: S2DSRequest, listeners: readonly ReservedListener[]): string {
  const { role, transport, tls, node, sources } = request;
  const addresses = listeners.map(({ address }) => formatAddress(address));
  const parts = [proxy, ROLE_CODES[role], transport, addresses, tls?.certificate, node, ...(sources ? [sources] : [])];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}

/** @param sockets Descriptors the program inherits. */
export function specOf(
  context: PluginContext,
  proxy: string,
  request: S2DSRequest,
  { index, listeners, description }: Pick<Instance, 'index' | 'listeners' | 'description'>,
  sockets: readonly number[],
): ContainerSpec {
  const { image, executable, args, files, stopSignal = 'SIGTERM' } = description;
  const { uid, role, transport, node } = request;
  const labels = {
    [LABELS.managed]: 'true',
    [LABELS.gateway]: context.gateway,
    [LABELS.owner]: context.owner,
    [LABELS.uid]: uid,
    [LABELS.role]: ROLE_CODES[role],
    [LABELS.proxy]: proxy,
    [LABELS.specHash]: specHash(proxy, request, listeners),
  };
  return {
    name: instanceName(context.owner, uid, index),
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
 * Waits until `ready` says so, at most 15 s, or as long as the program lives.
 * @throws SCI_PROXY_NOT_READY with the last lines of its log; the reason of `signal`
 */
export async function waitReady(
  { runtime }: PluginContext,
  proxy: string,
  ref: ContainerRef,
  ready: () => Promise<boolean>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const done = new AbortController();
  const ended = runtime.exited(ref, done.signal).then((state) => {
    throw new Error(`exited during startup (${state.exit ?? 'unknown reason'})`);
  });
  const becomes = poll(
    // What it once said in its log, it also said when it has died since.
    async () => ((await ready()) && (await runtime.inspect(ref)).status === 'running') || undefined,
    {
      timeoutMs: READY_TIMEOUT_MS,
      intervalMs: 2,
      signal: signal ? AbortSignal.any([signal, done.signal]) : done.signal,
    },
    (cause) => new Error(`did not become ready within ${READY_TIMEOUT_MS} ms`, { cause }),
  );
  try {
    await Promise.race([becomes, ended]);
  } catch (cause) {
    signal?.throwIfAborted();
    const words = await lastWords(runtime, ref);
    throw new S2DSException('SCI_PROXY_NOT_READY', `${proxy} ${messageOf(cause)}${words}`, { cause });
  } finally {
    done.abort();
    await Promise.allSettled([becomes, ended]);
  }
}

/** The end of a sentence that says why a program ended: its last lines, if it left any. */
export async function lastWords(runtime: ContainerRuntime, ref: ContainerRef): Promise<string> {
  const log = (await runtime.logs(ref, LOG_LINES).catch(messageOf)).trim();
  return log ? `. Its last output:\n${log}` : '.';
}

/** Opens a connection and closes it. Rejects when nobody accepts. */
export function touch({ host, port }: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: 1000 });
    socket.once('connect', () => resolve(void socket.destroy()));
    socket.once('timeout', () => socket.destroy(new Error('timed out')));
    socket.once('error', reject);
  });
}
