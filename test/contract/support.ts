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
  type SkippedCase,
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
  /** Whether early connections are held, if that depends on the runtime. */
  readonly holds?: (runtime: RuntimeId) => boolean;
  /** See `ProxyContract.endsInTurn`. */
  readonly endsInTurn?: string;
  /** Cases that are skipped, and why. */
  readonly except?: (runtime: RuntimeId) => readonly SkippedCase[];
}

/** Path of the stream module of Debian's Nginx, which the image contains. */
const NGINX_STREAM = '/usr/lib/nginx/modules/ngx_stream_module.so';

const moduleOf = ({ runtime }: PluginContext): object => (runtime.supports.images ? { module: NGINX_STREAM } : {});

const STUNNEL_LOSES_BYTES =
  'stunnel loses the last bytes of a direction that ends while blocked after the other one has ended ' +
  '(github.com/mtrojnar/stunnel/pull/23), so senders end only after all bytes have arrived';

const STUNNEL_REBINDS: SkippedCase = {
  title: 'updates under load refuse no connection, and with supports.liveRetarget close none and lose no byte',
  reason: 'stunnel briefly closes its listeners during a reload if it cannot inherit them',
};

/** Rows. */
const PROXIES = {
  relay: { create: (context) => new RelayContainer(context, relayOptions.parse({ image: IMAGE, processes: 2 })) },
  haproxy: {
    create: (context) => new HaproxyContainer(context, HaproxyOptions.parse({ image: IMAGE })),
    // Only the runtime socket can set a target without a reload.
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
    except: (runtime) => (runtime === 'process' ? [] : [STUNNEL_REBINDS]),
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

/** Slow cases whose programs and data path are already covered by another column. */
const SLOW: readonly SkippedCase[] = [
  { title: 'carries 1 GiB unchanged', reason: 'slow; it runs on process and docker' },
];
const SLOW_OVER_TLS: readonly SkippedCase[] = Object.keys(tlsTrafficCases)
  .filter((title) => !/passes the end|64 connections/.test(title))
  .map((title) => ({ title, reason: 'slow; it runs on process, and here without TLS' }));

function exceptions(proxy: ProxyId, runtime: RuntimeId): readonly SkippedCase[] {
  const { except }: ProxyEntry = PROXIES[proxy];
  return [
    ...(except?.(runtime) ?? []),
    ...(runtime === 'process' || runtime === 'docker' ? [] : SLOW),
    // stunnel has no cases without TLS that could replace these.
    ...(runtime === 'process' || proxy === 'stunnel' ? [] : SLOW_OVER_TLS),
  ];
}

/** Setup of a cell, for tests that create its environment themselves. */
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
