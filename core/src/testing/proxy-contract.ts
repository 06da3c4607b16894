import { tmpdir } from 'node:os';
import { FakeRuntime } from './fake-runtime.js';
import { adoptionCases } from './proxy-adoption.js';
import { bulkCases } from './proxy-bulk.js';
import { ENDING, inProxyEnvironment, type CreateS2DS, type ProxyCases } from './proxy-environment.js';
import { failureCases } from './proxy-failures.js';
import { lifecycleCases } from './proxy-lifecycle.js';
import { sourceCases, tlsSourceCases } from './proxy-sources.js';
import { strangerCases } from './proxy-strangers.js';
import { targetCases } from './proxy-targets.js';
import { tlsCases, tlsSafetyCases } from './proxy-tls.js';
import { ipv6Cases, trafficCases } from './proxy-traffic.js';
import { udpCases } from './proxy-udp.js';
import { reportSkipped, reported, type SkippedCase, type TestFunction } from './report.js';
import { processFixture, type RuntimeFixture } from './runtime-fixture.js';
import { testContext } from './support.js';

/** Parameters of {@link proxyContract}. */
export interface ProxyContract {
  /** Prefix of the test names, and the row of the result table. */
  readonly name: string;
  /** Registers a test with any runner: uvu, node:test, vitest, mocha. Called while `proxyContract` runs. */
  readonly test: TestFunction;
  /**
   * Creates the data server under test. Called once for each test, again where a test restarts it, and once in advance
   * to read `supports`.
   */
  readonly create: CreateS2DS;
  /**
   * Whether the proxy holds connections that arrive before a target is set, default true. Otherwise it must end them
   * immediately.
   */
  readonly holds?: boolean | undefined;
  /**
   * For a proxy that loses bytes if one direction ends while the other still sends: the reason. Senders then wait until
   * everything has arrived before they end their side. Listed below the result table.
   */
  readonly endsInTurn?: string | undefined;
  /** Cases that are not run, each for a reason outside the proxy's control. An unknown title is an error. */
  readonly except?: readonly SkippedCase[] | undefined;
  /** Runtime of the proxy, default local processes. */
  readonly runtime?: RuntimeFixture | undefined;
  /** Creates the data server at the inbound end of encrypted streams, default `create`. */
  readonly peer?: CreateS2DS | undefined;
}

/**
 * Registers the tests that every data server must pass, with real programs, sockets and files. The cases depend on
 * `supports`. A proxy that carries plain streams is tested with those, and also with encrypted pairs if it supports
 * TLS. A proxy that only encrypts is tested with encrypted pairs throughout. Each test has its own gateway, a limit of
 * two minutes, and fails if it leaves a process, a port or a file behind.
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
        excepted ? reportSkipped(by, excepted) : reported(by, title, check, reason),
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
  // `all` includes the traffic between pairs if it runs over pairs.
  const encrypted = { ...(plain ? tlsCases : tlsSafetyCases), ...tlsSourceCases, ...strangerCases };
  const titles = Object.keys(tls ? { ...all, ...encrypted } : all);
  const unknown = except.find(({ title }) => !titles.includes(title));
  if (unknown) throw new TypeError(`except names "${unknown.title}", which is not a case.`);
  register(all, plain ? undefined : { far: peer });
  if (tls) register(encrypted, { far: peer });
}
