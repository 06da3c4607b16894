import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { text } from 'node:stream/consumers';
import {
  createRenderer,
  formatAddress,
  poll,
  ProxyContainer,
  quote,
  S2DSException,
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
import { readLog, reloadState } from './worker-log.js';

const CONFIG = 'nginx.conf';
/** Names of the files that hold the credentials of a stream. */
const CREDENTIALS = { certificate: 'certificate.pem', key: 'key.pem', ca: 'ca.pem' } as const;
const CONTROL_SOCKET = 'nginx.sock';

/** Everything is found from the working directory, which is the instance's own; nothing outside it is written. */
const PLACES = ['-p', '.', '-e', 'stderr', '-c'];

/** Where distributions put the stream module (Debian, Fedora); elsewhere it is built in. */
const MODULES = ['/usr/lib/nginx/modules/ngx_stream_module.so', '/usr/lib64/nginx/modules/ngx_stream_module.so'];

/** Preferred first (dataplane.md §7). */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

/** Workers per stream, where the configuration does not say. */
const MOST_WORKERS = 4;
/** What a connection needs: both legs. */
const SLOTS_PER_CONNECTION = 2;
/** Connections of Nginx for listeners, and for what it talks to itself about. */
const SPARE_SLOTS = 32;

/** A reload takes 0.1 s on purpose (Nginx lets the new workers come up first), the rest is for a machine that is busy. */
const RELOAD_TIMEOUT_MS = 10_000;
/** Enough for the notices of a reload (a dozen) and what else Nginx has to say meanwhile. */
const LOG_LINES = 1_000;
/** Lines of the log that an error quotes. */
const LAST_WORDS = 10;

/**
 * TCP and UDP over the stream module of Nginx, one master per stream. New targets go into the file, and a reload puts them
 * in force: connections in flight stay with the old worker, which ends with its last one; sessions of UDP move to the new
 * target. A client that comes before the target is known is closed at once.
 */
export class NginxContainer extends ProxyContainer {
  readonly supports: S2DSCapabilities;
  readonly #options: NginxOptions;
  readonly #renderer: Renderer;

  constructor(context: PluginContext, options: NginxOptions) {
    super(context, 'nginx');
    this.supports = {
      tcp: true,
      udp: true,
      tls: true,
      sources: context.runtime.supports.hostNetwork,
      rateLimit: false,
      liveRetarget: true,
      statistics: false,
    };
    this.#options = options;
    this.#renderer = createRenderer([...(options.templates ? [options.templates] : []), templateDirectory('nginx')]);
  }

  protected override describe(view: ProxyView): ProxyDescription {
    const { image, executable } = this.#options;
    const { supports } = this.context.runtime;
    const args = [...PLACES, CONFIG];
    const descriptors = view.listeners.flatMap(({ fd }) => fd ?? []);
    return {
      image,
      // Inherited sockets are named in the environment; env(1) becomes Nginx, so the pid stays.
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
   * `-t` binds what the file listens on, and takes no offence at an address in use, be it by the data server that
   * reserves it or by the instance itself. It touches neither the pid file nor the socket of an instance that runs.
   */
  protected override check(config: string): readonly string[] {
    return [this.#options.executable, '-t', ...PLACES, config];
  }

  /**
   * Listeners are open before the first worker starts; where that can be asked, it says that it works, too. Workers
   * survive a master that is killed, so the master is looked at as well.
   */
  protected override async ready({ ref }: ProxyInstance): Promise<boolean> {
    const { runtime } = this.context;
    const works = runtime.supports.dial
      ? /^\d+$/.test(await text(await runtime.dial(ref, CONTROL_SOCKET)))
      : readLog(await runtime.logs(ref, LOG_LINES)).started.size > 0;
    return works && (await runtime.inspect(ref)).status === 'running';
  }

  /**
   * Old and new workers accept side by side for about 0.1 s, so this waits until the old ones say that they have
   * stopped. The configuration has been checked; it is refused only where the machine changed since.
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
      (cause) => reloadFailed(`has not followed its new file in ${RELOAD_TIMEOUT_MS} ms`, log, cause),
    );
    if (state === 'refused') throw reloadFailed('refused its new file', log);
  }
}

/** The configuration file for a stream as it is now. Every value in `view` has been parsed into a type before. */
export function renderConfig(
  renderer: Renderer,
  view: ProxyView,
  options: NginxOptions,
  runtime: ContainerRuntime['supports'],
): string {
  const { bufferSize, maxConnections, udpTimeout } = options;
  const { uid, role, transport, listeners, targets, tls, sources = [] } = view;
  const usual = Math.min(listeners.length, availableParallelism(), MOST_WORKERS);
  return renderer.render(`${CONFIG}.njk`, {
    uid,
    role,
    transport,
    module: options.module ?? (runtime.images ? undefined : MODULES.find((path) => existsSync(path))) ?? '',
    workers: transport === 'udp' ? 1 : (options.workers ?? usual),
    control: runtime.dial ? CONTROL_SOCKET : '',
    workerConnections: SLOTS_PER_CONNECTION * maxConnections + listeners.length + SPARE_SLOTS,
    bufferSize,
    udpTimeout,
    ciphers: CIPHERS,
    sources,
    tls: tls ? { ...CREDENTIALS, peer: dnsName(tls.peer) } : false,
    listeners: listeners.map(({ address }, i) => {
      const target = targets[i];
      return { address: formatAddress(address), target: target ? formatAddress(target) : '' };
    }),
  });
}

const credentialFiles = ({ certificate, key, ca }: StreamTls): InstanceFiles => ({
  [CREDENTIALS.certificate]: certificate,
  [CREDENTIALS.key]: key,
  [CREDENTIALS.ca]: ca,
});

/** The name comes from the other facility and goes into a configuration file. */
function dnsName(name: string): string {
  if (/^[A-Za-z0-9.-]{1,253}$/.test(name)) return name;
  throw new S2DSException('SCI_PROXY_CONFIG_INVALID', `${quote(name)} is no DNS name, so no peer can have it.`);
}

function reloadFailed(what: string, log: string, cause?: unknown): S2DSException {
  const words = log.split('\n').slice(-LAST_WORDS).join('\n');
  return new S2DSException('SCI_PROXY_COMMAND_FAILED', `Nginx ${what}. Its last words:\n${words}`, {
    cause,
    suggestions: ['Try again; if it stays, release the stream and make it again.'],
  });
}
