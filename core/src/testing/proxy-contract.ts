import type { PluginContext } from '../plugin.js';
import type { S2DS } from '../s2ds.js';
import { inProxyEnvironment, type ProxyEnvironment } from './proxy-environment.js';
import { lifecycleCases } from './proxy-lifecycle.js';
import { targetCases } from './proxy-targets.js';
import { trafficCases } from './proxy-traffic.js';

/** Behaviour every data server must have, in words, and how to see it. */
export type ProxyCases = Readonly<Record<string, (env: ProxyEnvironment) => Promise<void>>>;

/** What {@link proxyContract} needs to know of a proxy and of the test runner. */
export interface ProxyContract {
  /** Put before the name of each test. */
  readonly name: string;
  /** Registers a test with any runner: uvu's, node:test's, vitest's, mocha's. Called while `proxyContract` runs. */
  readonly test: (name: string, run: () => Promise<void>) => void;
  /** Makes the data server under test; called once for each test. */
  readonly create: (context: PluginContext) => S2DS;
  /** Whether the proxy holds connections that come before their target, default true. Otherwise it must end them at once. */
  readonly holds?: boolean | undefined;
}

/**
 * Registers the tests that every data server for local processes must pass, with real processes, sockets and files.
 * What is demanded follows `supports`. Each test has a gateway of its own, must end within 20 s, and fails when a
 * process, a port or a file of it is left at its end.
 */
export function proxyContract({ name, test, create, holds }: ProxyContract): void {
  for (const [title, run] of Object.entries({ ...trafficCases, ...targetCases, ...lifecycleCases })) {
    test(`${name}: ${title}`, () => inProxyEnvironment({ create, holds }, run));
  }
}
