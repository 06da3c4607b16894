/**
 * `node crowd-server.js JSON`: a control server with a gateway whose proxies only sleep. A machine has room for a thousand
 * of them, so that the benchmark measures the server. Prints its address first. Releases everything on SIGTERM.
 */
import type { ProxyDescription, ProxyView } from '@scistream/core';
import type { PortRange } from '@scistream/core/internal';

// As the command does: modules are loaded before the server starts.
await import('reflect-metadata');
const { container } = await import('tsyringe');
const { z } = await import('zod');
const { formatAddress, ProxyContainer, proxyProvider, silentLogger } = await import('@scistream/core');
const { ControlServer, BUILT_INS, ENDED_LIMITS, Providers, registerServer, TOKENS } =
  await import('@scistream/core/internal');

/** The argument of the program. */
export interface CrowdStart {
  readonly ports: PortRange;
  /** Absolute path of its state directory. */
  readonly state: string;
}

/** The first line of output. */
export interface CrowdListening {
  readonly url: string;
}

class Sleeper extends ProxyContainer {
  readonly supports = { tcp: true, udp: false, tls: false, rateLimit: false, liveRetarget: true, statistics: false };

  protected override describe({ targets }: ProxyView): ProxyDescription {
    const files = { 'targets.txt': targets.map(formatAddress).join('\n') };
    return { image: 'none:1', executable: 'sleep', args: ['infinity'], config: 'targets.txt', files };
  }

  protected override ready(): Promise<boolean> {
    return Promise.resolve(true);
  }
}

const { ports, state } = JSON.parse(process.argv[2] ?? '{}') as CrowdStart;
const sleeper = proxyProvider({ id: 'sleeper', options: z.strictObject({}), create: (c) => new Sleeper(c, 'sleeper') });
const limits = {
  streams: 5_000,
  waiting: 100,
  waitingPerIdentity: 100,
  streamsPerIdentity: 10_000,
  connectionsPerIdentity: undefined,
  streamsPerMinute: 100_000,
  updatesPerMinute: 100_000,
  ...ENDED_LIMITS,
  watchesPerIdentity: 100,
  connections: 16,
  helloTimeoutMs: 60_000,
  lifetimeMs: 3_600_000,
  updatesPerSecond: 1000,
  requestsPerSecond: 100_000,
  strangerRequestsPerSecond: 100,
  strangerTimeoutMs: 10_000,
  clients: 1_000,
  clientsPerAddress: 1_000,
};
const gateway = { name: 'gw', s2ds: 'embedded', wan: '127.0.0.1', lan: '127.0.0.1', ports } as const;
const config = {
  facility: 'crowd',
  listen: { host: '127.0.0.1', port: 0 },
  minTls: 'TLSv1.3' as const,
  insecure: false,
  state,
  auth: [],
  encryption: 'optional' as const,
  limits,
  gateways: [{ ...gateway, proxy: 'sleeper', runtime: 'process' }],
  proxies: {},
  runtimes: {},
  plugins: [],
};
const own = container.createChildContainer();
registerServer(own, { config, logger: silentLogger, plugins: [] });
const builtIns = [...BUILT_INS, { provider: sleeper, summary: '' }];
own.register(TOKENS.Providers, { useValue: new Providers({ builtIns, plugins: [], config }) });
const server = own.resolve(ControlServer);
process.on('SIGTERM', () => void server.stop({ release: true }).finally(() => process.exit(0)));
const { address, scheme } = await server.start();
process.stdout.write(`${JSON.stringify({ url: `${scheme}://${address}` } satisfies CrowdListening)}\n`);
