import { formatAddress, type Address, type InstanceFiles, type Renderer, type ProxyView } from '@scistream/core';
import type { HaproxyOptions } from './options.js';
import { RUNTIME_SOCKET } from './runtime-socket.js';

/** The configuration file in the directory of an instance. */
export const CONFIG = 'haproxy.cfg';

/** Read before the configuration when it is only checked; see `HaproxyContainer`. */
export const CHECK_CONFIG = 'check.cfg';

const CHECK_VARIABLE = 'SCISTREAM_CHECK';

/** AES-128-GCM first: the cheapest where processors have AES, and no suite is measurably slower. */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

/** Largest descriptor limit with which select(2) is used, whose sets hold 1024. */
const SELECT_LIMIT = 1000;

/** Descriptors besides two per connection and one per listener: log, poller, timer and runtime socket. */
const SPARE_DESCRIPTORS = 64;

/**
 * Where clients are sent before the target is known: nobody listens there (binding it needs root), so each try fails at
 * once and the client is held. Never 0.0.0.0, which HAProxy takes for "the address the client asked for", itself.
 */
export const NOWHERE: Address = { host: '127.0.0.1', port: 1 };

/** How an instance is told its targets: through the runtime socket, or by a new worker that its master starts. */
export type Mode = 'runtime-socket' | 'master-worker';

/** The configuration file for a stream as it is now. Every value in `view` has been parsed into a type before. */
export function renderConfig(renderer: Renderer, view: ProxyView, options: HaproxyOptions, mode: Mode): string {
  const { bufferSize, maxConnections } = options;
  const { uid, role, listeners, targets, tls, sources = [] } = view;
  const fileLimit = 2 * maxConnections + listeners.length + SPARE_DESCRIPTORS;
  return renderer.render(`${CONFIG}.njk`, {
    uid,
    role,
    masterWorker: mode === 'master-worker',
    known: targets.length > 0,
    socket: RUNTIME_SOCKET,
    checkVariable: CHECK_VARIABLE,
    fileLimit,
    select: fileLimit <= SELECT_LIMIT,
    bufferSize,
    sources,
    tls: tls && { peer: tls.peer, ciphers: CIPHERS },
    listeners: listeners.map(({ address, fd }, i) => ({
      address: formatAddress(address),
      fd,
      target: formatAddress(targets[i] ?? NOWHERE),
    })),
  });
}

/** Everything in the directory of an instance: the configuration, and what it names. */
export function renderFiles(renderer: Renderer, view: ProxyView, options: HaproxyOptions, mode: Mode): InstanceFiles {
  const { tls } = view;
  return {
    [CONFIG]: renderConfig(renderer, view, options, mode),
    [CHECK_CONFIG]: `global\n  setenv ${CHECK_VARIABLE} 1\n`,
    ...(tls && { 'tls.pem': `${tls.certificate.trim()}\n${tls.key.trim()}\n`, 'ca.pem': tls.ca }),
  };
}
