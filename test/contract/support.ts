/**
 * The matrix of the contract kit: proxies × runtimes. One small test file per cell, so that what a cell needs can stand in
 * its first line and each runs in a process of its own:
 *
 *     // needs: haproxy
 *     import { matrix } from './support.js';
 *
 *     matrix('haproxy', 'process');
 */
import { RelayContainer, relayOptions } from '@scistream/core/server';
import {
  processFixture,
  proxyContract,
  type CreateS2DS,
  type RuntimeFixture,
  type TlsEnd,
} from '@scistream/core/testing';
import { HaproxyContainer, HaproxyOptions } from '@scistream/plugin-haproxy';
import { NginxContainer, NginxOptions } from '@scistream/plugin-nginx';
import { StunnelContainer, StunnelOptions } from '@scistream/plugin-stunnel';
import { suite } from 'uvu';

interface ProxyEntry {
  readonly create: CreateS2DS;
  /** Whether early connections are held, where that differs from the default by runtime. */
  readonly holds?: (runtime: RuntimeId) => boolean;
}

/** Rows. */
const PROXIES = {
  relay: { create: (context) => new RelayContainer(context, relayOptions.parse({ processes: 2 })) },
  haproxy: { create: (context) => new HaproxyContainer(context, HaproxyOptions.parse({})) },
  nginx: { create: (context) => new NginxContainer(context, NginxOptions.parse({})), holds: () => false },
  stunnel: { create: (context) => new StunnelContainer(context, StunnelOptions.parse({})), holds: () => false },
} as const satisfies Readonly<Record<string, ProxyEntry>>;

/** Columns. */
const RUNTIMES = {
  process: processFixture,
} as const satisfies Readonly<Record<string, RuntimeFixture>>;

export type ProxyId = keyof typeof PROXIES;
export type RuntimeId = keyof typeof RUNTIMES;

/** Registers and runs the tests of one cell. */
export function matrix(proxy: ProxyId, runtime: RuntimeId): void {
  const s = suite(`${proxy} on ${runtime}`);
  const { create, holds }: ProxyEntry = PROXIES[proxy];
  proxyContract({
    name: proxy,
    test: (name, run) => void s(name, run),
    create,
    holds: holds?.(runtime),
    runtime: RUNTIMES[runtime],
  });
  s.run();
}

/** Proxies as ends of encrypted streams between local processes. */
export function tlsEnds(...proxies: readonly ProxyId[]): Record<string, TlsEnd> {
  const end = (proxy: ProxyId): TlsEnd => {
    const { create, holds }: ProxyEntry = PROXIES[proxy];
    return { create, holds: holds?.('process') ?? true };
  };
  return Object.fromEntries(proxies.map((proxy) => [proxy, end(proxy)]));
}
