import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { text } from 'node:stream/consumers';
import {
  formatDuration,
  addressesFrom,
  createRenderer,
  formatAddress,
  localAddressFor,
  loggedRecently,
  poll,
  PROBE_NAME,
  ProxyContainer,
  quote,
  S2DSException,
  type ConnectionLimit,
  type ContainerRef,
  type ContainerRuntime,
  type InstanceFiles,
  type PluginContext,
  type ProxyDescription,
  type ProxyInstance,
  type Renderer,
  type S2DSCapabilities,
  type StreamTls,
  type ProxyView,
} from '@scistream/core';
import { templateDirectory } from '@scistream/templates';
import type { NginxOptions } from './options.js';
import { drainingIn, readLog, reloadState } from './worker-log.js';

const CONFIG = 'nginx.conf';
/** Names of the files with the credentials of a stream. */
const CREDENTIALS = { certificate: 'certificate.pem', key: 'key.pem', ca: 'ca.pem' } as const;
const CONTROL_SOCKET = 'nginx.sock';

/** All paths are relative to the working directory, the directory of the instance. Nothing outside it is written. */
const PLACES = ['-p', '.', '-e', 'stderr', '-c'];

/** Paths of the stream module in distributions (Debian, Fedora); elsewhere it is built in. */
const MODULES = ['/usr/lib/nginx/modules/ngx_stream_module.so', '/usr/lib64/nginx/modules/ngx_stream_module.so'];

/** In order of preference. */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

/** Default limit of workers per stream. */
const MOST_WORKERS = 4;
/** Both legs of a connection. */
const SLOTS_PER_CONNECTION = 2;
/** Connections of Nginx for listeners and internal channels. */
const SPARE_SLOTS = 32;

/** A reload takes 0.1 s by design, because Nginx lets the new workers start first. The rest is for busy machines. */
const RELOAD_TIMEOUT_MS = 10_000;
/** Enough for the notices of a reload (about twelve) and other messages during it. */
const LOG_LINES = 1_000;
/** Lines of a worker that cannot serve another connection. */
const AT_LIMIT = / \[\w+\] .*(?:worker_connections are not enough|Too many open files)/;
/** Number of log lines that an error quotes. */
const LAST_WORDS = 10;

/**
 * TCP and UDP over the stream module of Nginx, with one master per stream. New targets are written to the file and
 * applied by a reload. Open connections stay with the old worker, which ends with its last one; UDP sessions move to
 * the new target. Clients that connect before a target is set are closed immediately.
 */
export class NginxContainer extends ProxyContainer {
  readonly supports: S2DSCapabilities;
  readonly #options: NginxOptions;
  readonly #renderer: Renderer;
  /** Workers that were draining after the last reload; their lines may have left the part of the log that is read. */
  readonly #draining = new WeakMap<ContainerRef, readonly string[]>();

  constructor(context: PluginContext, options: NginxOptions) {
    super(context, 'nginx');
    this.supports = {
      tcp: true,
      udp: true,
      // Nginx forwards an ICMP error of the target as an empty datagram (seen with 1.22.1; no option prevents it).
      emptyDatagrams: true,
      tls: true,
      sources: context.runtime.supports.hostNetwork,
      localAddress: context.runtime.supports.hostNetwork && options.templates === undefined,
      ...(answersProbes(context.runtime.supports, options) && { probe: 'data' }),
      rateLimit: false,
      liveRetarget: true,
      statistics: false,
    };
    this.#options = options;
    this.#renderer = createRenderer([options.templates, templateDirectory('nginx')]);
  }

  protected override describe(view: ProxyView): ProxyDescription {
    const { image, executable } = this.#options;
    const { supports } = this.context.runtime;
    const args = [...PLACES, CONFIG];
    const descriptors = view.listeners.flatMap(({ fd }) => fd ?? []);
    return {
      image,
      // Inherited sockets are named in the environment. env(1) executes Nginx, so the pid stays the same.
      ...(descriptors.length > 0
        ? { executable: 'env', args: [`NGINX=${descriptors.map((fd) => `${fd};`).join('')}`, executable, ...args] }
        : { executable, args }),
      config: CONFIG,
      files: {
        [CONFIG]: renderConfig(this.#renderer, view, this.#options, supports),
        ...(view.tls ? credentialFiles(view.tls) : {}),
      },
    };
  }

  /**
   * `-t` binds the addresses of the file and accepts addresses in use, whether by the data server that reserves them or
   * by the instance. It touches neither the pid file nor the socket of a running instance.
   */
  protected override check(config: string): readonly string[] {
    return [this.#options.executable, '-t', ...PLACES, config];
  }

  /**
   * Listeners are open before the first worker starts. The worker must answer too, on the control socket or in the log.
   * Workers survive a killed master, so the state of the master is checked as well.
   */
  protected override async ready({ ref }: ProxyInstance): Promise<boolean> {
    const { runtime } = this.context;
    const works = runtime.supports.dial
      ? /^\d+$/.test(await text(await runtime.dial(ref, CONTROL_SOCKET)))
      : readLog(await runtime.logs(ref, LOG_LINES)).started.size > 0;
    return works && (await runtime.inspect(ref)).status === 'running';
  }

  /** Above its limit, a worker closes new connections and writes that to its log. */
  protected override async limit({ ref }: ProxyInstance): Promise<ConnectionLimit> {
    const { runtime } = this.context;
    const log = await runtime.logs(ref, LOG_LINES);
    const reached = loggedRecently(log, AT_LIMIT, runtime.supports.images);
    return { connections: this.#options.maxConnections, reached };
  }

  /** @throws SCI_LIMIT_REACHED while too many old workers serve connections */
  protected override async admit({ ref }: ProxyInstance): Promise<void> {
    const { oldWorkers } = this.#options;
    const seen = drainingIn(readLog(await this.context.runtime.logs(ref, LOG_LINES)));
    const draining = [...new Set([...seen, ...(this.#draining.get(ref) ?? []).filter(isShuttingDown)])];
    this.#draining.set(ref, draining);
    if (draining.length < oldWorkers) return;
    throw new S2DSException(
      'SCI_LIMIT_REACHED',
      `Nginx still has ${draining.length} old workers with connections from before the last updates.`,
      {
        suggestions: [
          'Retry when some of these connections have ended.',
          'The operator can raise the limit: proxies.nginx.oldWorkers',
        ],
      },
    );
  }

  /**
   * Old and new workers accept in parallel for about 0.1 s, so this waits until the old ones report that they have
   * stopped. The configuration has already been checked and is rejected only if the machine has changed since.
   */
  protected override async reload({ ref }: ProxyInstance): Promise<void> {
    const { runtime } = this.context;
    let log = await runtime.logs(ref, LOG_LINES);
    const before = readLog(log);
    let now = before;
    await runtime.signal(ref, 'SIGHUP');
    const state = await poll(
      async () => {
        log = await runtime.logs(ref, LOG_LINES);
        now = readLog(log, now);
        return reloadState(before, now);
      },
      { timeoutMs: RELOAD_TIMEOUT_MS, intervalMs: 5 },
      (cause) =>
        reloadFailed(`has not applied its new configuration within ${formatDuration(RELOAD_TIMEOUT_MS)}`, log, cause),
    );
    if (state === 'refused') throw reloadFailed('rejected its new configuration', log);
  }
}

/**
 * Whether probes reach the control socket. Workers of a master that runs as root have another user, who cannot enter
 * the private directory of the instance.
 */
const answersProbes = ({ dial }: ContainerRuntime['supports'], { templates }: NginxOptions): boolean =>
  dial && templates === undefined && process.getuid?.() !== 0;

/** Whether a process of this machine is an old worker of Nginx. */
function isShuttingDown(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('nginx: worker process is shutting down');
  } catch {
    return false;
  }
}

/** Renders the configuration file for the current state of a stream. All values in `view` are parsed types. */
export function renderConfig(
  renderer: Renderer,
  view: ProxyView,
  options: NginxOptions,
  runtime: ContainerRuntime['supports'],
): string {
  const { bufferSize, maxConnections, udpTimeout, keepalive, handshakeTimeout } = options;
  const { uid, role, transport, listeners, targets, tls, sources = [], localAddress: configured } = view;
  const usual = Math.min(listeners.length, availableParallelism(), MOST_WORKERS);
  const workers = transport === 'udp' ? 1 : (options.workers ?? usual);
  return renderer.render(`${CONFIG}.njk`, {
    uid,
    role,
    transport,
    module: options.module ?? (runtime.images ? undefined : MODULES.find((path) => existsSync(path))) ?? '',
    workers,
    control: runtime.dial ? CONTROL_SOCKET : '',
    workerConnections: SLOTS_PER_CONNECTION * maxConnections + listeners.length + SPARE_SLOTS,
    probe: runtime.dial && tls && role === 'inbound' ? PROBE_NAME : '',
    bufferSize,
    udpTimeout,
    keepalive,
    handshakeTimeout,
    ofSource: maxConnections * workers,
    ciphers: CIPHERS,
    sources,
    tls: tls ? { ...CREDENTIALS, peer: dnsName(tls.peer) } : false,
    listeners: listeners.map(({ address }, i) => {
      const target = targets[i];
      if (!target) return { address: formatAddress(address), target: '', fallbacks: [], localAddress: '' };
      const { localAddress = '' } = localAddressFor(configured, target);
      const [, ...others] = transport === 'udp' ? [] : addressesFrom(configured, target);
      const fallbacks = others.map(formatAddress);
      return { address: formatAddress(address), target: formatAddress(target), fallbacks, localAddress };
    }),
  });
}

const credentialFiles = ({ certificate, key, ca }: StreamTls): InstanceFiles => ({
  [CREDENTIALS.certificate]: certificate,
  [CREDENTIALS.key]: key,
  [CREDENTIALS.ca]: ca,
});

/** Validates the peer name, which comes from the other facility and goes into a configuration file. */
function dnsName(name: string): string {
  if (/^[A-Za-z0-9.-]{1,253}$/.test(name)) return name;
  throw new S2DSException('SCI_PROXY_CONFIG_INVALID', `The peer name ${quote(name)} is not a DNS name.`, {
    suggestions: ['Use the credentials that stream up creates.'],
  });
}

function reloadFailed(what: string, log: string, cause?: unknown): S2DSException {
  const words = log.split('\n').slice(-LAST_WORDS).join('\n');
  return new S2DSException('SCI_PROXY_COMMAND_FAILED', `Nginx ${what}. Its last output:\n${words}`, {
    cause,
    suggestions: ['Retry the update. If it fails again, release the stream and create it again.'],
  });
}
