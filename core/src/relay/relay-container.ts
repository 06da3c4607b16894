import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { z } from 'zod';
import type { Address } from '../contracts/address.js';
import type { ContainerRef, InstanceFiles } from '../contracts/container-runtime.js';
import { messageOf, quote, S2DSException } from '../contracts/errors.js';
import { proxyProvider, type PluginContext } from '../contracts/plugin.js';
import type { S2DSCapabilities, S2DSRequest } from '../contracts/s2ds.js';
import {
  PROBE_NAME,
  type ConnectionLimit,
  type ListenerStatistics,
  type StreamTls,
  type TlsFailure,
} from '../contracts/stream.js';
import { parseDuration } from '../contracts/units.js';
import { formatDuration } from '../contracts/units.js';
import { poll, within } from '../contracts/wait.js';
import { keepaliveOptions } from '../proxy/keepalive.js';
import { localAddressFor } from '../proxy/local-address.js';
import { ProxyContainer } from '../proxy/proxy-container.js';
import type { ProxyDescription, ProxyInstance, ProxyView } from '../proxy/view.js';
import { programFiles, WORKER } from './program.js';
import {
  CONTROL_SOCKET,
  revisionIn,
  TLS_FILES,
  type ControlReply,
  type ControlRequest,
  type RelayConfig,
  type RelayDestination,
  type RelayTarget,
  type StatusReply,
} from './protocol.js';

const CONFIG = 'relay.json';
/** Lines of the log in which the last revision is searched. */
const LOG_LINES = 50;
const CONTROL_TIMEOUT_MS = 2_000;

const duration = (initial: string): z.ZodType<number, string | undefined> =>
  z
    .string()
    .default(initial)
    .transform((text) => parseDuration(text));

/** Options under `proxies.relay`. */
export const relayOptions = z.strictObject({
  /** Maximum number of relay processes per stream, one per listener. Default: number of cores. */
  processes: z
    .int()
    .min(1)
    .max(256)
    .default(() => availableParallelism()),
  /**
   * Maximum number of open TCP connections of each process; further ones are reset. The limit of open files may lower
   * it. All connections of a process together hold at most 128 MiB of data, and 128 KiB each beyond that.
   */
  maxConnections: z.int().positive().max(1_000_000).default(1_000),
  /** Maximum time that a connection waits for a target. */
  hold: duration('30s'),
  /** Maximum time of one attempt to connect to the target. */
  connectTimeout: duration('5s'),
  /** Maximum time for the TLS handshake of the other gateway. */
  handshakeTimeout: duration('5s'),
  /** Image with Node.js >= 20.19 and a pinned tag, for runtimes with images. */
  image: z.string().min(1).default('node:20.19-bookworm-slim'),
  /** UDP: idle time after which the session of a client is closed. */
  udpSession: duration('2m'),
  /** TCP keepalive. The relay distributes ten probes, not `probes`, over the same time. */
  keepalive: keepaliveOptions,
});

/** Parsed {@link relayOptions}; durations in ms. */
export type RelayOptions = z.output<typeof relayOptions>;

/**
 * The built-in proxy, which requires no installed program. Each instance runs worker.ts. In runtimes with images, the
 * instance contains the program as files. If the runtime cannot connect to the control socket, the proxy sets targets
 * through the start file and SIGHUP, waits for the revision in the log, and has no counters.
 */
export class RelayContainer extends ProxyContainer {
  readonly supports: S2DSCapabilities;
  /** The limits that the workers have reported. */
  readonly #replies = new WeakMap<ContainerRef, StatusReply>();

  constructor(
    context: PluginContext,
    private readonly options: RelayOptions,
  ) {
    super(context, 'relay');
    const { dial: statistics, hostNetwork } = context.runtime.supports;
    this.supports = {
      tcp: true,
      udp: true,
      tls: true,
      sources: hostNetwork,
      localAddress: hostNetwork,
      probe: 'data',
      rateLimit: false,
      liveRetarget: true,
      statistics,
    };
  }

  protected override instances(request: S2DSRequest): number {
    return Math.min(this.options.processes, request.listeners.length);
  }

  protected describe(view: ProxyView): ProxyDescription {
    const { dial, images } = this.context.runtime.supports;
    const { idle, interval, probes } = this.options.keepalive;
    const config: RelayConfig = {
      transport: view.transport,
      listeners: view.listeners.map(({ address, fd }) => (fd === undefined ? address : { ...address, fd })),
      targets: relayTargets(view),
      holdMs: this.options.hold,
      connectTimeoutMs: this.options.connectTimeout,
      retryMs: 500,
      udpSessionMs: this.options.udpSession,
      maxConnections: this.options.maxConnections,
      keepaliveIdleMs: idle * 1000,
      keepaliveProbingMs: interval * probes * 1000,
      ...(view.tls && {
        tls: {
          leg: view.role === 'inbound' ? 'listeners' : 'targets',
          peer: view.tls.peer,
          handshakeMs: this.options.handshakeTimeout,
          ...(view.role === 'inbound' && { probe: PROBE_NAME }),
        },
      }),
      ...(view.sources ? { sources: view.sources } : {}),
      ...(dial ? {} : { revision: revisionOf(view) }),
    };
    return {
      image: this.options.image,
      executable: images ? 'node' : process.execPath,
      args: [images ? basename(WORKER) : WORKER, CONFIG],
      config: CONFIG,
      files: {
        [CONFIG]: JSON.stringify(config, null, 2),
        ...credentialFiles(view.tls),
        ...(images ? programFiles() : {}),
      },
    };
  }

  /** The worker creates its control socket, or logs its revision, when all listeners accept connections. */
  protected override async ready(instance: ProxyInstance): Promise<boolean> {
    if (!this.context.runtime.supports.dial) return await this.#follows(instance);
    await this.#ask(instance, { cmd: 'status' });
    return true;
  }

  protected override async retarget(instance: ProxyInstance): Promise<boolean> {
    if (!this.context.runtime.supports.dial) return false;
    await this.#ask(instance, { cmd: 'targets', targets: relayTargets(instance.view) });
    return true;
  }

  protected override async reload(instance: ProxyInstance): Promise<void> {
    await this.context.runtime.signal(instance.ref, 'SIGHUP');
    await poll(
      async () => (await this.#follows(instance)) || undefined,
      { timeoutMs: CONTROL_TIMEOUT_MS, intervalMs: 20 },
      (cause) =>
        new S2DSException(
          'SCI_PROXY_COMMAND_FAILED',
          `The relay did not apply the targets within ${formatDuration(CONTROL_TIMEOUT_MS)}.`,
          {
            cause,
            suggestions: ['See the log of the instance.'],
          },
        ),
    );
  }

  /** Returns true if an instance without control socket has logged that it uses the current targets. */
  async #follows({ ref, view }: ProxyInstance): Promise<boolean> {
    return revisionIn(await this.context.runtime.logs(ref, LOG_LINES)) === revisionOf(view);
  }

  protected override async statistics(instance: ProxyInstance): Promise<readonly ListenerStatistics[]> {
    if (!this.supports.statistics) return [];
    const reply = await this.#ask(instance, { cmd: 'status' });
    this.#replies.set(instance.ref, reply as StatusReply);
    return (reply as StatusReply).listeners.map(
      ({ connections, open, established: _, bytesIn, bytesOut, errors, refused, ...failures }) => ({
        connections,
        open,
        bytesIn,
        bytesOut,
        errors,
        refused,
        // A worker that an older version started counts no causes.
        ...(Object.keys(failures).length > 0 ? { failures } : {}),
      }),
    );
  }

  protected override limit(
    { ref }: ProxyInstance,
    counters: readonly ListenerStatistics[],
  ): Promise<ConnectionLimit | undefined> {
    const connections = this.#replies.get(ref)?.maxConnections;
    const open = counters.reduce((sum, listener) => sum + listener.open, 0);
    return Promise.resolve(connections === undefined ? undefined : { connections, reached: open >= connections });
  }

  protected override tlsFailure({ ref }: ProxyInstance): Promise<TlsFailure | undefined> {
    return Promise.resolve(this.#replies.get(ref)?.tlsFailure);
  }

  async #ask({ ref }: ProxyInstance, request: ControlRequest): Promise<ControlReply> {
    const late = (): S2DSException =>
      new S2DSException(
        'SCI_PROXY_NOT_READY',
        `The relay did not answer ${quote(request.cmd)} within ${formatDuration(CONTROL_TIMEOUT_MS)}.`,
        { suggestions: ['Check the load of the gateway.'] },
      );
    let socket: Duplex | undefined;
    try {
      socket = await within(this.context.runtime.dial(ref, CONTROL_SOCKET), CONTROL_TIMEOUT_MS, late);
      socket.write(`${JSON.stringify(request)}\n`);
      const [line] = (await within(once(createInterface(socket), 'line'), CONTROL_TIMEOUT_MS, late)) as [string];
      const reply = JSON.parse(line) as ControlReply;
      if (!reply.ok)
        throw new S2DSException('SCI_PROXY_COMMAND_FAILED', `The relay rejected ${request.cmd}: ${reply.error}`, {
          suggestions: ['Read the log of the relay in the directory of the stream on the gateway.'],
        });
      return reply;
    } catch (error) {
      throw S2DSException.is(error)
        ? error
        : new S2DSException('SCI_PROXY_NOT_READY', `The relay does not answer: ${messageOf(error)}`, {
            cause: error,
            suggestions: ['Read the log of the relay in the directory of the stream on the gateway.'],
          });
    } finally {
      socket?.destroy();
    }
  }
}

function relayTargets({ targets, localAddress }: ProxyView): readonly RelayTarget[] {
  const destination = (address: Address): RelayDestination => ({
    ...address,
    ...localAddressFor(localAddress, address),
  });
  return targets.map(({ host, port, fallbacks }) => ({
    ...destination({ host, port }),
    ...(fallbacks && { fallbacks: fallbacks.map((other) => destination({ host: other, port })) }),
  }));
}

/** Hashes the targets, and nothing else. */
function revisionOf({ targets }: ProxyView): string {
  return createHash('sha256').update(JSON.stringify(targets)).digest('hex').slice(0, 16);
}

function credentialFiles(tls: StreamTls | undefined): InstanceFiles {
  if (!tls) return {};
  return { [TLS_FILES.certificate]: tls.certificate, [TLS_FILES.key]: tls.key, [TLS_FILES.ca]: tls.ca };
}

/** The provider of the relay, which the daemons register. */
export const relayProvider = proxyProvider({
  id: 'relay',
  options: relayOptions,
  create: (context, options: RelayOptions) => new RelayContainer(context, options),
});
