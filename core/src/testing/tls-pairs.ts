import { inProxyEnvironment, type CreateS2DS, ENDING } from './proxy-environment.js';
import { tlsTrafficCases } from './proxy-tls.js';
import { notDemanded, reported, type TestFunction } from './report.js';
import { processFixture, type RuntimeFixture } from './runtime-fixture.js';

/** A proxy that can be an end of an encrypted stream. */
export interface TlsEnd {
  readonly create: CreateS2DS;
  /** See `ProxyContract.holds`, default true. */
  readonly holds?: boolean | undefined;
  /** See `ProxyContract.endsInTurn`; of either end. */
  readonly endsInTurn?: string | undefined;
}

/** What does not always work between two proxies, and why: it is not tried, and stands below the table of results. */
export interface KnownFailure {
  readonly server: string;
  readonly client: string;
  /** Part of the title of the case. */
  readonly title: string;
  readonly reason: string;
}

/** What {@link tlsPairs} needs to know. */
export interface TlsPairs {
  readonly test: TestFunction;
  /** By name; each is tested as server of each and as client of each, itself among them. */
  readonly ends: Readonly<Record<string, TlsEnd>>;
  readonly known?: readonly KnownFailure[];
  /** Where they run, default local processes. */
  readonly runtime?: RuntimeFixture;
}

/**
 * Registers tests of encrypted streams whose two gateways run different proxies: the CONS side is the TLS client, the PROD
 * side the server.
 */
export function tlsPairs({ test, ends, known = [], runtime = processFixture }: TlsPairs): void {
  for (const [server, far] of Object.entries(ends)) {
    for (const [client, near] of Object.entries(ends)) {
      const name = `${client} → ${server}`;
      const endsInTurn = near.endsInTurn ?? far.endsInTurn;
      const setup = {
        create: near.create,
        holds: near.holds,
        endsInTurn,
        runtime,
        paired: { far: far.create },
      };
      for (const [title, run] of Object.entries(tlsTrafficCases)) {
        const failure = known.find((it) => it.server === server && it.client === client && title.includes(it.title));
        const by = { proxy: name, runtime: runtime.id };
        const reason = ENDING.test(title) ? endsInTurn : undefined;
        test(failure ? `${name}: not ${title}: ${failure.reason}` : `${name}: ${title}`, () =>
          failure
            ? notDemanded(by, { title, reason: failure.reason })
            : reported(by, title, () => inProxyEnvironment(setup, run), reason),
        );
      }
    }
  }
}
