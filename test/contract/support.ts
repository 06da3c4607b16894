/**
 * The matrix of the contract kit: proxies × runtimes. One small test file per cell, so that its first line can declare what
 * it needs, and each runs in its own process:
 *
 *     // needs: haproxy
 *     import { matrix } from './support.js';
 *
 *     matrix('haproxy', 'process');
 */
import { RelayContainer, relayOptions } from '@scistream/core/internal';
import type { PluginContext } from '@scistream/core';
import {
  processFixture,
  proxyContract,
  tlsTrafficCases,
  type CreateS2DS,
  type NotDemanded,
  type ProxySetup,
  type RuntimeFixture,
  type TlsEnd,
} from '@scistream/core/testing';
import { HaproxyContainer, HaproxyOptions } from '@scistream/plugin-haproxy';
import { NginxContainer, NginxOptions } from '@scistream/plugin-nginx';
import { StunnelContainer, StunnelOptions } from '@scistream/plugin-stunnel';
import { suite } from 'uvu';
import { closeEngine, dockerFixture, dockersockFixture, IMAGE, janusFixture } from './engines.js';

interface ProxyEntry {
  readonly create: CreateS2DS;
  /** Whether early connections are held, if this differs from the default of the runtime. */
  readonly holds?: (runtime: RuntimeId) => boolean;
  /** See `ProxyContract.endsInTurn`. */
  readonly endsInTurn?: string;
  /** Cases that need not pass, with the reason. */
  readonly except?: (runtime: RuntimeId) => readonly NotDemanded[];
}

/** Path of the stream module in Debian's Nginx, which is in the image. */
const NGINX_STREAM = '/usr/lib/nginx/modules/ngx_stream_module.so';

const moduleOf = ({ runtime }: PluginContext): object => (runtime.supports.images ? { module: NGINX_STREAM } : {});

const STUNNEL_LOSES_BYTES =
  'stunnel loses the last bytes of a direction that ends while it is blocked and the other one has ended ' +
  '(github.com/mtrojnar/stunnel/pull/23), so everybody waits with the end until all has arrived';

const STUNNEL_BINDS_ANEW: NotDemanded = {
  title: 'updates under load refuse no connection, and where supports.liveRetarget neither cut one nor lose a byte',
  reason: 'stunnel closes its listeners for a moment when it reads new targets, where it cannot inherit them',
};

/** Rows. */
const PROXIES = {
  relay: { create: (context) => new RelayContainer(context, relayOptions.parse({ image: IMAGE, processes: 2 })) },
  haproxy: {
    create: (context) => new HaproxyContainer(context, HaproxyOptions.parse({ image: IMAGE })),
    // Only its runtime socket can set a target without a reload.
    holds: (runtime) => runtime !== 'janus',
  },
  nginx: {
    create: (context) => new NginxContainer(context, NginxOptions.parse({ image: IMAGE, ...moduleOf(context) })),
    holds: () => false,
  },
  stunnel: {
    create: (context) => new StunnelContainer(context, StunnelOptions.parse({ image: IMAGE })),
    holds: () => false,
    endsInTurn: STUNNEL_LOSES_BYTES,
    except: (runtime) => (runtime === 'process' ? [] : [STUNNEL_BINDS_ANEW]),
  },
} as const satisfies Readonly<Record<string, ProxyEntry>>;

/** Columns. */
const RUNTIMES = {
  process: processFixture,
  docker: dockerFixture,
  dockersock: dockersockFixture,
  janus: janusFixture,
} as const satisfies Readonly<Record<string, RuntimeFixture>>;

export type ProxyId = keyof typeof PROXIES;
export type RuntimeId = keyof typeof RUNTIMES;

/** Cases that would only take time again: another column runs the same programs on the same path. */
const SLOW: readonly NotDemanded[] = [
  { title: 'carries 1 GiB unchanged', reason: 'takes long, and is tried on process and docker' },
];
const SLOW_OVER_TLS: readonly NotDemanded[] = Object.keys(tlsTrafficCases)
  .filter((title) => !/passes the end|64 connections/.test(title))
  .map((title) => ({ title, reason: 'takes long, and is tried on process; without TLS it is tried here, too' }));

function exceptions(proxy: ProxyId, runtime: RuntimeId): readonly NotDemanded[] {
  const { except }: ProxyEntry = PROXIES[proxy];
  return [
    ...(except?.(runtime) ?? []),
    ...(runtime === 'process' || runtime === 'docker' ? [] : SLOW),
    // stunnel has no cases without TLS that could replace these.
    ...(runtime === 'process' || proxy === 'stunnel' ? [] : SLOW_OVER_TLS),
  ];
}

/** Makes an environment like that of a cell. */
export function setupOf(proxy: ProxyId, runtime: RuntimeId): Omit<ProxySetup, 'paired'> {
  const { create, holds, endsInTurn }: ProxyEntry = PROXIES[proxy];
  return { create, holds: holds?.(runtime), endsInTurn, runtime: RUNTIMES[runtime] };
}

/** Registers and runs the tests of one cell. */
export function matrix(proxy: ProxyId, runtime: RuntimeId): void {
  const s = suite(`${proxy} on ${runtime}`);
  s.after(closeEngine);
  proxyContract({
    ...setupOf(proxy, runtime),
    name: proxy,
    test: (name, run) => void s(name, run),
    except: exceptions(proxy, runtime),
  });
  s.run();
}

/** Proxies as ends of encrypted streams between local processes. */
export function tlsEnds(...proxies: readonly ProxyId[]): Record<string, TlsEnd> {
  return Object.fromEntries(proxies.map((proxy) => [proxy, setupOf(proxy, 'process')]));
}
