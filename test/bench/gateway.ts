/**
 * `node gateway.js JSON`: a gateway without its control server, so that proxies are started exactly as for a stream and
 * can live in a network namespace. Reads one {@link GatewayRequest} per line, answers each with one line, and releases
 * everything when its input ends or on SIGTERM. Whatever fails ends it.
 */
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { formatAddress, parseAddress, silentLogger } from '@scistream/core';
import { BUILT_INS, EmbeddedDataServer, Providers, type PortRange } from '@scistream/core/server';
import haproxy from '@scistream/plugin-haproxy';

/** The argument of the program. */
export interface GatewayStart {
  /** The address its listeners bind to. */
  readonly host: string;
  readonly ports: PortRange;
  readonly proxy: string;
  /** Absolute path of its state directory; proxies work below it. */
  readonly state: string;
}

/** Start a stream with a listener for each target (host:port), or end it. */
export type GatewayRequest = { readonly targets: readonly string[] } | { readonly release: string };

/** Answer to `targets`: every entry (host:port) accepts and forwards to its target. `release` is answered with `{}`. */
export interface StreamStarted {
  readonly uid: string;
  readonly entries: readonly string[];
}

const { host, ports, proxy, state } = JSON.parse(process.argv[2] ?? '{}') as GatewayStart;
const providers = new Providers({
  builtIns: [...BUILT_INS, ...haproxy.providers.map((provider) => ({ provider, summary: '' }))],
  plugins: [],
  config: { proxies: {}, runtimes: {}, plugins: [] },
});
const settings = { name: 'bench', wan: host, lan: host, ports, proxy, runtime: 'process' };
const gateway = new EmbeddedDataServer(settings, providers, silentLogger, state);
const { signal } = new AbortController();

async function start(targets: readonly string[]): Promise<StreamStarted> {
  const uid = randomUUID();
  const wish = { uid, role: 'PROD', transport: 'tcp', count: targets.length, proxy: '', runtime: '' } as const;
  const { listeners } = await gateway.reserve({ ...wish, bitsPerSecond: 0 });
  await gateway.start(uid, signal);
  const parsed = targets.map((target) => parseAddress(target));
  await gateway.updateTargets(uid, parsed, signal);
  return { uid, entries: listeners.map(formatAddress) };
}

const requests = createInterface(process.stdin);
process.on('SIGTERM', () => requests.close());
try {
  for await (const line of requests) {
    const request = JSON.parse(line) as GatewayRequest;
    const answer = 'targets' in request ? await start(request.targets) : await gateway.release(request.release);
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
} finally {
  await gateway.close();
}
process.exit(0);
