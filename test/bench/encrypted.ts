import { makeCredentials, type StreamCredentials } from '@scistream/core/client';
import type { Bench, Goal, Part, Table } from './bench.js';
import { chain, Gateway, type Forwarder } from './forwarders.js';
import { factor, range } from './format.js';
import { barePipe, handTuned, type Encrypted } from './hand-tuned.js';
import { Producers } from './iperf.js';
import { FOUR, measureThroughput, ONE, ratioOf, throughputTable, type Throughput } from './throughput.js';

const PROXIES = ['relay', 'haproxy', 'nginx', 'stunnel'] as const;
type Proxy = (typeof PROXIES)[number];

/** The relay must be faster than plain Node.js. The other proxies are compared with the same program. */
const GOALS: Readonly<Record<Proxy, number>> = { relay: 1, haproxy: 0.98, nginx: 0.98, stunnel: 0.98 };
const DAY_MS = 86_400_000;
const LOADS = [ONE, FOUR];

interface Result {
  readonly proxy: Proxy;
  readonly throughput: readonly Throughput[];
  readonly goals: readonly Goal[];
  /** Encrypted against unencrypted. stunnel has no unencrypted mode. */
  readonly cost: readonly string[];
}

/**
 * Both gateways of a stream in a row with encryption in between. The baselines are the same program with mutual TLS
 * configured by hand at both ends, and the unencrypted stream. Needs iperf3.
 */
export async function encryptedPart(bench: Bench): Promise<Part> {
  await using producers = await Producers.onLoopback(FOUR.listeners);
  const credentials = makeCredentials(new Date(Date.now() + DAY_MS));
  const proxies = PROXIES.filter((proxy) => proxy === 'relay' || bench.missing[proxy] === undefined);
  const results: Result[] = [];
  for (const proxy of proxies) results.push(await compare(bench, proxy, producers, credentials));
  const cost: Table = {
    title: 'Encrypted against unencrypted, same proxy',
    columns: ['proxy', ...LOADS.map(({ name }) => name)],
    rows: results.map(({ proxy, cost: cells }) => [proxy, ...cells]),
  };
  return {
    name: 'Encrypted streams',
    method:
      `Both gateways of a stream on loopback, mutual TLS 1.3 (AES-128-GCM) between them, iperf3 \`--reverse\` for ` +
      `${bench.seconds} s, ${bench.rounds} rounds interleaved: median [min–max], ratios round by round. CPU is that of ` +
      'the proxies of both gateways. By hand: the same two proxies, or for the relay two `tls` pipes of Node.js; measured ' +
      'twice: the ratio of both shows the noise of this machine.',
    tables: [...results.map(({ proxy, throughput }) => throughputTable(`Throughput, ${proxy}`, throughput)), cost],
    goals: results.flatMap(({ goals }) => goals),
    notMeasured: PROXIES.filter((proxy) => !proxies.includes(proxy)).map((proxy) => `${proxy}: not installed`),
    broken: [],
    data: { throughput: results.map(({ proxy, throughput }) => ({ proxy, throughput })) },
  };
}

async function compare(
  bench: Bench,
  proxy: Proxy,
  producers: Producers,
  { from, to }: StreamCredentials,
): Promise<Result> {
  await using gateway = await Gateway.open(bench, proxy, proxy);
  const end = (encrypted: Encrypted): Forwarder =>
    proxy === 'relay' ? barePipe(bench, encrypted) : handTuned(bench, proxy, encrypted);
  const byHand = chain('by hand, TLS', end({ end: 'client', tls: to }), end({ end: 'server', tls: from }));
  const secure = chain(`${proxy}, TLS`, gateway.hop('outbound', to), gateway.hop('inbound', from));
  const plain = chain(`${proxy}, plain`, gateway.hop('outbound'), gateway.hop('inbound'));
  const baselines = proxy === 'stunnel' ? [byHand] : [byHand, plain];
  // The same measurement again: its ratio to the first shows the smallest difference that this machine can show.
  const control = { ...byHand, name: 'by hand, again' };
  const contest = { contenders: [secure, control, ...baselines], baselines, producers: producers.addresses };
  const throughput: Throughput[] = [];
  for (const load of LOADS) throughput.push(...(await measureThroughput(bench, contest, load)));
  const goals = LOADS.map((load): Goal => ({
    what: `${proxy} encrypted against by hand, ${load.name}`,
    bound: 'at least',
    wanted: GOALS[proxy],
    ...ratioOf(throughput, load, secure.name, byHand.name),
    unit: '',
  }));
  const cost = LOADS.map((load) =>
    baselines.includes(plain)
      ? range(ratioOf(throughput, load, secure.name, plain.name).spread, factor)
      : 'never plain',
  );
  return { proxy, throughput, goals, cost };
}
