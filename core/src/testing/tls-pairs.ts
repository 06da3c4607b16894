import { inProxyEnvironment, type CreateS2DS, ENDING } from './proxy-environment.js';
import { tlsTrafficCases } from './proxy-tls.js';
import { reportSkipped, reported, type TestFunction } from './report.js';
import { processFixture, type RuntimeFixture } from './runtime-fixture.js';

/** A proxy that can be an end of an encrypted stream. */
export interface TlsEnd {
  readonly create: CreateS2DS;
  /** See `ProxyContract.holds`, default true. */
  readonly holds?: boolean | undefined;
  /** See `ProxyContract.endsInTurn`; applies to either end. */
  readonly endsInTurn?: string | undefined;
}

/** A case that fails for a pair of proxies, and why. It is not run, and is listed below the result table. */
export interface KnownFailure {
  readonly server: string;
  readonly client: string;
  /** Part of the title of the case. */
  readonly title: string;
  readonly reason: string;
}

/** Parameters of {@link tlsPairs}. */
export interface TlsPairs {
  readonly test: TestFunction;
  /** Proxies by name. Each is tested as server and client of each, including itself. */
  readonly ends: Readonly<Record<string, TlsEnd>>;
  readonly known?: readonly KnownFailure[];
  /** Runtime of the proxies, default local processes. */
  readonly runtime?: RuntimeFixture;
}

/**
 * Registers tests of encrypted streams whose gateways run different proxies. The outbound side is the TLS client, the
 * inbound side the TLS server.
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
            ? reportSkipped(by, { title, reason: failure.reason })
            : reported(by, title, () => inProxyEnvironment(setup, run), reason),
        );
      }
    }
  }
}
