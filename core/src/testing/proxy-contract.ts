import { tmpdir } from 'node:os';
import { FakeRuntime } from './fake-runtime.js';
import { adoptionCases } from './proxy-adoption.js';
import { bulkCases } from './proxy-bulk.js';
import { ENDING, inProxyEnvironment, type CreateS2DS, type ProxyCases } from './proxy-environment.js';
import { failureCases } from './proxy-failures.js';
import { lifecycleCases } from './proxy-lifecycle.js';
import { sourceCases, tlsSourceCases } from './proxy-sources.js';
import { targetCases } from './proxy-targets.js';
import { tlsCases, tlsSafetyCases } from './proxy-tls.js';
import { ipv6Cases, trafficCases } from './proxy-traffic.js';
import { udpCases } from './proxy-udp.js';
import { notDemanded, reported, type NotDemanded, type TestFunction } from './report.js';
import { processFixture, type RuntimeFixture } from './runtime-fixture.js';
import { testContext } from './support.js';

/** What {@link proxyContract} needs to know of a proxy and of the test runner. */
export interface ProxyContract {
  /** Put before the name of each test, and the row of the result table. */
  readonly name: string;
  /** Registers a test with any runner: uvu's, node:test's, vitest's, mocha's. Called while `proxyContract` runs. */
  readonly test: TestFunction;
  /**
   * Makes the data server under test; called once for each test, twice where the test lets it die, and once more
   * beforehand to read `supports`.
   */
  readonly create: CreateS2DS;
  /** Whether the proxy holds connections that come before their target, default true. Otherwise it must end them at once. */
  readonly holds?: boolean | undefined;
  /**
   * Why a connection may not end one direction while the other still carries much, for a proxy that loses bytes then:
   * whoever ends its side waits until the other side has heard everything. Stands below the table of results.
   */
  readonly endsInTurn?: string | undefined;
  /** Cases that are not tried, each for a reason outside the proxy's control. A title that is no case is a mistake. */
  readonly except?: readonly NotDemanded[] | undefined;
  /** Where the proxy runs, default local processes. */
  readonly runtime?: RuntimeFixture | undefined;
  /** Makes the data server at the PROD end of encrypted streams, default `create`. */
  readonly peer?: CreateS2DS | undefined;
}

/**
 * Registers the tests that every data server must pass, with real programs, sockets and files. What is demanded follows
 * `supports`: one that carries plain streams is tested with those, and where it can encrypt also with pairs of streams
 * that are encrypted between each other; one that only encrypts is tested with pairs throughout. Each test has a gateway
 * of its own, must end within two minutes, and fails when a process, a port or a file of it is left at its end.
 */
export function proxyContract(contract: ProxyContract): void {
  const { name, test, create, holds, endsInTurn, except = [], runtime = processFixture, peer = create } = contract;
  const by = { proxy: name, runtime: runtime.id };
  const { plain = true, tls } = create(testContext({ runtime: new FakeRuntime(), dataDir: tmpdir() })).supports;
  const register = (cases: ProxyCases, paired?: { readonly far: CreateS2DS }): void => {
    for (const [title, run] of Object.entries(cases)) {
      const excepted = except.find((it) => it.title === title);
      const setup = { create, holds, endsInTurn, runtime, paired };
      const check = (): Promise<void> => inProxyEnvironment(setup, run);
      const reason = endsInTurn !== undefined && ENDING.test(title) ? endsInTurn : undefined;
      test(excepted ? `${name}: not ${title}: ${excepted.reason}` : `${name}: ${title}`, () =>
        excepted ? notDemanded(by, excepted) : reported(by, title, check, reason),
      );
    }
  };
  const all = {
    ...trafficCases,
    ...bulkCases,
    ...(runtime.ipv6 === false ? {} : ipv6Cases),
    ...targetCases,
    ...lifecycleCases,
    ...udpCases,
    ...failureCases,
    ...adoptionCases,
    ...sourceCases,
  };
  // What pairs must carry is in `all`, where that runs over pairs.
  const encrypted = { ...(plain ? tlsCases : tlsSafetyCases), ...tlsSourceCases };
  const titles = Object.keys(tls ? { ...all, ...encrypted } : all);
  const unknown = except.find(({ title }) => !titles.includes(title));
  if (unknown) throw new TypeError(`There is no case "${unknown.title}" to except.`);
  register(all, plain ? undefined : { far: peer });
  if (tls) register(encrypted, { far: peer });
}
