import { createHash } from 'node:crypto';
import { silentLogger, type Authenticator } from '@scistream/core';
import { createProviders, PluginHost } from '@scistream/core/internal';
import { JWT_RESOURCE, OPAQUE_RESOURCE, ROBOT, TestIssuer, type IssuerOptions } from '../support/issuer.js';
import { newDirectory, type Bench, type Part } from './bench.js';
import { number } from './format.js';
import { quantile } from './statistics.js';

const CHECKS = 2_000;
const QUICK_CHECKS = 300;
const WARM_UPS = 100;
const GOAL_US = 1_000;
const SECRET_VARIABLE = 'BENCH_INTROSPECTION_SECRET';
const STATIC = 'a static token';

interface Kind {
  readonly name: string;
  readonly options: (issuer: TestIssuer) => { readonly use: string; readonly [key: string]: unknown };
  readonly token: (issuer: TestIssuer) => Promise<string>;
  readonly algorithm?: IssuerOptions['algorithm'];
}

const jwt = ({ url }: TestIssuer) => ({ use: 'oidc', issuer: url, audience: JWT_RESOURCE, scope: 'scistream' });
const introspection = { clientId: ROBOT.id, secretEnv: SECRET_VARIABLE };
const sha256 = createHash('sha256').update(STATIC).digest('hex');

const KINDS: readonly Kind[] = [
  { name: 'JWT, RS256', options: jwt, token: (issuer) => issuer.token(), algorithm: 'RS256' },
  { name: 'JWT, ES256', options: jwt, token: (issuer) => issuer.token() },
  {
    name: 'introspection, answer cached',
    options: (issuer) => ({ ...jwt(issuer), audience: OPAQUE_RESOURCE, subjectClaim: 'client_id', introspection }),
    token: (issuer) => issuer.token(OPAQUE_RESOURCE),
  },
  {
    name: 'static, 1000 tokens',
    options: () => ({
      use: 'token',
      tokens: Array.from({ length: 1000 }, (_, i) => ({
        subject: `s${i}`,
        sha256: i < 999 ? 'ab'.repeat(32) : sha256,
      })),
    }),
    token: () => Promise.resolve(STATIC),
  },
];

/** The time to authenticate a caller, once keys and answers of the issuer are cached. */
export async function authPart(bench: Bench): Promise<Part> {
  const checks = bench.quick ? QUICK_CHECKS : CHECKS;
  process.env[SECRET_VARIABLE] = ROBOT.secret;
  const host = new PluginHost(silentLogger, await newDirectory(bench, 'auth'));
  const results: { readonly name: string; readonly us: readonly number[] }[] = [];
  for (const { name, options, token, algorithm } of KINDS) {
    bench.say(`auth: ${name}`);
    await using issuer = await TestIssuer.start({ algorithm });
    const { use, ...rest } = options(issuer);
    const providers = createProviders([], { proxies: {}, runtimes: {}, plugins: [] });
    const authenticator = (await providers.authenticator(use, rest, 'auth.0')).create(await host.context(use));
    results.push({ name, us: await measure(bench, authenticator, await token(issuer), checks) });
  }
  await host.close();
  return {
    name: 'Token check',
    method:
      `The authenticator without a server, consecutive tokens, ${checks} times after ${WARM_UPS} to warm up, with a real ` +
      'issuer on loopback whose keys or answers are cached.',
    tables: [
      {
        title: 'µs per check',
        columns: ['token', 'median', 'p99', 'max'],
        rows: results.map(({ name, us }) => [
          name,
          ...[quantile(us, 0.5), quantile(us, 0.99), Math.max(...us)].map((one) => number(one, 0)),
        ]),
      },
    ],
    goals: results.map(({ name, us }) => ({
      what: `token check, ${name}, median`,
      bound: 'at most',
      wanted: GOAL_US,
      got: quantile(us, 0.5),
      unit: 'µs',
    })),
    notMeasured: [],
    broken: [],
    data: results,
  };
}

async function measure({ signal }: Bench, authenticator: Authenticator, token: string, checks: number) {
  const us: number[] = [];
  for (let i = -WARM_UPS; i < checks; i += 1) {
    signal.throwIfAborted();
    const begun = performance.now();
    await authenticator.authenticate({ token, peer: '127.0.0.1' });
    if (i >= 0) us.push((performance.now() - begun) * 1000);
  }
  return us;
}
