import {
  addressesOf,
  formatAddress,
  localAddressFor,
  PROBE_NAME,
  type Address,
  type InstanceFiles,
  type Renderer,
  type ProxyView,
} from '@scistream/core';
import type { HaproxyOptions } from './options.js';
import { RUNTIME_SOCKET } from './runtime-socket.js';

/** Name of the configuration file in the directory of an instance. */
export const CONFIG = 'haproxy.cfg';

/** File that is read before the configuration when it is only checked; see `HaproxyContainer`. */
export const CHECK_CONFIG = 'check.cfg';

const CHECK_VARIABLE = 'SCISTREAM_CHECK';

/** AES-128-GCM first: the cheapest on processors with AES; no other suite is measurably faster. */
export const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

/** Largest descriptor limit for select(2), whose sets hold 1024. */
const SELECT_LIMIT = 1000;

/** Longer than a client is held while its target does not listen, ms. */
const HOLD_MS = 35_000;

/** Descriptors besides two per connection and one per listener: log, poller, timer and runtime socket. */
const SPARE_DESCRIPTORS = 64;

/**
 * Target before a target is set. Nothing listens there (binding it needs root), so each attempt fails immediately and
 * the client is held. Never 0.0.0.0, which HAProxy replaces by the address that the client connected to.
 */
export const NOWHERE: Address = { host: '127.0.0.1', port: 1 };

/** How an instance receives new targets: through the runtime socket, or through a new worker of its master. */
export type Mode = 'runtime-socket' | 'master-worker';

/** Renders the configuration file for the current state of a stream. All values in `view` are parsed types. */
export function renderConfig(renderer: Renderer, view: ProxyView, options: HaproxyOptions, mode: Mode): string {
  const { bufferSize, maxConnections, keepalive, userTimeout = 0 } = options;
  const { uid, role, listeners, targets, tls, sources = [] } = view;
  const live = mode === 'runtime-socket';
  const fileLimit = 2 * maxConnections + listeners.length + SPARE_DESCRIPTORS;
  return renderer.render(`${CONFIG}.njk`, {
    uid,
    role,
    masterWorker: !live,
    known: targets.length > 0,
    socket: RUNTIME_SOCKET,
    checkVariable: CHECK_VARIABLE,
    fileLimit,
    select: fileLimit <= SELECT_LIMIT,
    bufferSize,
    keepalive,
    userTimeout,
    sources,
    probe: tls && role === 'inbound' ? PROBE_NAME : '',
    strangers: tls && role === 'inbound' && strangersOf(options),
    tls: tls && { peer: tls.peer, ciphers: CIPHERS },
    listeners: listeners.map(({ address, fd }, i) => ({
      address: formatAddress(address),
      fd,
      // For custom templates.
      target: formatAddress(targets[i] ?? NOWHERE),
      servers: serversOf(view, i)
        .filter(({ disabled }) => live || !disabled)
        .map((server) => ({ ...server, address: formatAddress(server.address) })),
    })),
  });
}

/** Limits of clients before their TLS handshake. Half of the connections are reserved for the other gateway. */
const strangersOf = ({ maxConnections, handshakeTimeout }: HaproxyOptions) => ({
  timeout: `${handshakeTimeout}ms`,
  oldTimeout: `${Math.max(handshakeTimeout, HOLD_MS)}ms`,
  ofSource: Math.floor(maxConnections / 4),
  all: Math.floor(maxConnections / 2),
});

/** A server of a backend. */
export interface BackendServer {
  readonly name: string;
  readonly address: Address;
  /** Share of the attempts. The next attempt goes to another server. */
  readonly weight: number;
  /** Local address of its connections; empty: any. */
  readonly source: string;
  /** True for the server that connections do not use. */
  readonly disabled: boolean;
}

/** Weight of the preferred address. HAProxy then begins nearly always with it, and tries the others alternately. */
export const PREFERRED = 256;

/**
 * The servers of backend i. For the preferred address of the target: one that uses the local address of the stream, if
 * it has one, and one that does not. The target selects the server in use, because HAProxy cannot change the local
 * address of a server. For each further address: the server in use.
 */
export function serversOf({ localAddress, targets }: ProxyView, i: number): readonly BackendServer[] {
  const [first = NOWHERE, ...others] = addressesOf(targets[i] ?? NOWHERE);
  const sourceFor = (address: Address): string => localAddressFor(localAddress, address).localAddress ?? '';
  const usual = { address: first, weight: PREFERRED };
  const preferred: readonly BackendServer[] =
    localAddress === undefined
      ? [{ ...usual, name: `s${i}`, source: '', disabled: false }]
      : [
          { ...usual, name: `s${i}`, source: localAddress, disabled: sourceFor(first) === '' },
          { ...usual, name: `u${i}`, source: '', disabled: sourceFor(first) !== '' },
        ];
  const fallbacks = others.map((address, j): BackendServer => {
    const source = sourceFor(address);
    return { name: `${source ? 's' : 'u'}${i}-${j + 1}`, address, weight: 1, source, disabled: false };
  });
  return [...preferred, ...fallbacks];
}

/** Renders all files of an instance: the configuration and the files that it names. */
export function renderFiles(renderer: Renderer, view: ProxyView, options: HaproxyOptions, mode: Mode): InstanceFiles {
  const { tls } = view;
  return {
    [CONFIG]: renderConfig(renderer, view, options, mode),
    [CHECK_CONFIG]: `global\n  setenv ${CHECK_VARIABLE} 1\n`,
    ...(tls && { 'tls.pem': `${tls.certificate.trim()}\n${tls.key.trim()}\n`, 'ca.pem': tls.ca }),
  };
}
