import {
  formatDuration,
  addressesFrom,
  addressesOf,
  createRenderer,
  localAddressFor,
  loggedRecently,
  PROBE_NAME,
  ProxyContainer,
  S2DSException,
  type Address,
  type ConnectionLimit,
  type PluginContext,
  type ProxyDescription,
  type ProxyInstance,
  type Renderer,
  type S2DSCapabilities,
  type ProxyView,
} from '@scistream/core';
import { templateDirectory } from '@scistream/templates';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkCommand, runArguments } from './commands.js';
import { configState } from './log.js';
import type { StunnelOptions } from './options.js';
import { preSharedKey, type PreSharedKey } from './psk.js';

const CONFIG = 'stunnel.conf';
const CERTIFICATE = 'certificate.pem';
const KEY = 'key.pem';
const CA = 'ca.pem';
const SECRETS = 'psk.txt';

const CIPHERSUITES = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];
/** A pre-shared key uses one hash, SHA-256 (RFC 8446 §4.2.11), so the suite with SHA-384 is excluded. */
const PSK_CIPHERSUITES = CIPHERSUITES.filter((suite) => suite.endsWith('SHA256'));

/** Target before a target is set. Nothing listens there (binding it needs root), so connections end immediately. */
const NOWHERE: Address = { host: '127.0.0.1', port: 1 };

/** Usually 5 ms; 2.6 s were seen under a flood of new connections, because the accepting thread also reads the file. */
const RELOAD_TIMEOUT_MS = 15_000;
const RELOAD_INTERVAL_MS = 3;
/** More than a reload writes; the runtime may return fewer. */
const LOG_LINES = 400;
/** Lines of the accepting thread. It may run out of open files a few connections before its limit. */
const AT_LIMIT = /LOG\d\[ui\]: (?:Connection rejected: too many clients|.*Too many open files)/;

/**
 * Encrypted TCP over stunnel, with one process per stream and one thread per connection. It encrypts the leg to the
 * other gateway with the certificates of the stream or, if configured, with a pre-shared key. New targets are a new
 * file and SIGHUP, which does not affect connections. Inherited listeners stay open; others are closed and reopened,
 * and connections during that moment are refused. Connections that arrive before a target is set end immediately.
 *
 * stunnel up to 5.78 has a defect without a workaround (github.com/mtrojnar/stunnel/pull/23). If one direction of a
 * connection has ended and the other ends while it is blocked, its last bytes are lost silently. Use another proxy for
 * programs that end their sending side before they have read everything.
 */
export class StunnelContainer extends ProxyContainer {
  readonly supports: S2DSCapabilities;
  readonly #options: StunnelOptions;
  readonly #renderer: Renderer;

  constructor(context: PluginContext, options: StunnelOptions) {
    super(context, 'stunnel');
    this.supports = {
      tcp: true,
      udp: false,
      tls: true,
      plain: options.psk !== undefined,
      localAddress: context.runtime.supports.hostNetwork && options.templates === undefined,
      ...(options.templates === undefined && { probe: 'data' }),
      rateLimit: false,
      liveRetarget: context.runtime.supports.inheritSockets,
      statistics: false,
    };
    this.#options = options;
    this.#renderer = createRenderer([options.templates, templateDirectory('stunnel')]);
  }

  protected override describe(view: ProxyView): ProxyDescription {
    const { executable, maxConnections } = this.#options;
    const inherited = view.listeners.filter(({ fd }) => fd !== undefined).length;
    return {
      image: this.#image(),
      executable: 'sh',
      args: runArguments(executable, CONFIG, maxConnections, inherited),
      config: CONFIG,
      files: view.tls ? this.#withCertificates(view, view.tls) : this.#withSharedKey(view),
    };
  }

  protected override check(config: string): readonly string[] {
    return checkCommand(this.#options.executable, config);
  }

  /** Reads the log, because the kernel always accepts on an inherited socket. Only stunnel writes to this log. */
  protected override async ready(instance: ProxyInstance): Promise<boolean> {
    return (await this.#state(instance)).state === 'active';
  }

  /** If stunnel rejects a new configuration, it keeps the old one and reports that only in its log. */
  protected override async reload(instance: ProxyInstance): Promise<void> {
    const { ref } = instance;
    const { runtime } = this.context;
    const before = await runtime.logs(ref, LOG_LINES);
    await runtime.signal(ref, 'SIGHUP');
    const deadline = performance.now() + RELOAD_TIMEOUT_MS;
    for (;;) {
      const log = await runtime.logs(ref, LOG_LINES);
      const now = log === before ? ({ state: 'reading' } as const) : configState(log, serviceNames(instance.view));
      if (now.state === 'active') return;
      if (now.state === 'refused') throw refused(now.why);
      if (performance.now() >= deadline)
        throw refused(`it did not reload the file within ${formatDuration(RELOAD_TIMEOUT_MS)}`);
      await sleep(RELOAD_INTERVAL_MS);
    }
  }

  /** Above its limit, stunnel closes new connections or lets them wait, and writes that to its log. */
  protected override async limit({ ref }: ProxyInstance): Promise<ConnectionLimit> {
    const { runtime } = this.context;
    const log = await runtime.logs(ref, LOG_LINES);
    const reached = loggedRecently(log, AT_LIMIT, runtime.supports.images);
    return { connections: this.#options.maxConnections, reached };
  }

  async #state({ ref, view }: ProxyInstance): Promise<ReturnType<typeof configState>> {
    return configState(await this.context.runtime.logs(ref, LOG_LINES), serviceNames(view));
  }

  #image(): string {
    const { image } = this.#options;
    if (image === undefined && this.context.runtime.supports.images) {
      throw new S2DSException(
        'SCI_IMAGE_NOT_FOUND',
        'No image is configured for stunnel, and there is no official one.',
        {
          suggestions: ['Set proxies.stunnel.image to an image that contains stunnel, with a pinned tag.'],
        },
      );
    }
    return image ?? '';
  }

  #withCertificates(view: ProxyView, tls: NonNullable<ProxyView['tls']>): ProxyDescription['files'] {
    return {
      [CONFIG]: renderConfig(this.#renderer, view, this.#options),
      [CERTIFICATE]: tls.certificate,
      [KEY]: tls.key,
      [CA]: tls.ca,
    };
  }

  #withSharedKey(view: ProxyView): ProxyDescription['files'] {
    const { psk } = this.#options;
    if (!psk) {
      throw new S2DSException('SCI_PROXY_UNSUPPORTED', 'The proxy stunnel carries only encrypted streams.', {
        suggestions: ['Set --encryption tls, or use another proxy.'],
      });
    }
    const compatibility = 'compatibility' in psk;
    if (compatibility && view.targets.length === 0) {
      const { uid, role } = view;
      this.context.log.warn(
        { uid, role },
        'psk.compatibility is set: the key is the uid and does not protect this stream',
      );
    }
    const key = preSharedKey(psk, view.uid);
    return {
      [CONFIG]: renderConfig(this.#renderer, view, this.#options, { ...key, compatibility }),
      [SECRETS]: key.line,
    };
  }
}

/**
 * Renders the configuration file for the current state of a stream. All values in `view` are parsed types.
 * @param psk For streams without certificates; the file does not contain the key.
 */
export function renderConfig(
  renderer: Renderer,
  view: ProxyView,
  { logErrors, keepalive, handshakeTimeout }: Pick<StunnelOptions, 'logErrors' | 'keepalive' | 'handshakeTimeout'>,
  psk?: Pick<PreSharedKey, 'identity'> & { readonly compatibility: boolean },
): string {
  const names = serviceNames(view);
  return renderer.render(`${CONFIG}.njk`, {
    uid: view.uid,
    role: view.role,
    logErrors,
    keepalive,
    handshakeTimeout,
    client: view.role === 'outbound',
    compatibility: !view.tls && psk?.compatibility === true,
    ciphersuites: (view.tls ? CIPHERSUITES : PSK_CIPHERSUITES).join(':'),
    tls: view.tls ? { certificate: CERTIFICATE, key: KEY, ca: CA, peer: view.tls.peer } : false,
    probe: view.tls && view.role === 'inbound' ? PROBE_NAME : '',
    psk: psk ? { secrets: SECRETS, identity: psk.identity } : false,
    services: view.listeners.map(({ address }, i) => ({
      name: names[i],
      accept: written(address),
      connect: written(view.targets[i] ?? NOWHERE),
      fallbacks: addressesFrom(view.localAddress, view.targets[i] ?? NOWHERE)
        .slice(1)
        .map(written),
      local: localAddressFor(view.localAddress, view.targets[i] ?? NOWHERE).localAddress ?? '',
    })),
  });
}

/**
 * Service names: one per listener, and different for different targets, so that the log shows the active targets. They
 * contain no colon, because the option `sni` ends the name of a service at the first one.
 */
const serviceNames = ({ listeners, targets }: ProxyView): readonly string[] =>
  listeners.map((_, i) => {
    const addresses = addressesOf(targets[i] ?? NOWHERE).map(written);
    return `s${i} to ${addresses.join(' or ').replaceAll(':', '_')}`;
  });

/** The address format of stunnel: the port follows the last colon, without brackets. */
const written = ({ host, port }: Address): string => `${host}:${port}`;

const refused = (why: string): S2DSException =>
  new S2DSException('SCI_PROXY_CONFIG_INVALID', `stunnel rejected the new targets: ${why}`, {
    suggestions: ['Check the options under proxies.stunnel in the configuration of the gateway.'],
  });
