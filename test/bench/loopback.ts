import { FOUR, FOUR_ON_ONE, measureThroughput, ONE, ratioOf, throughputTable, type Load } from './throughput.js';
import type { Bench, Goal, Part, Table } from './bench.js';
import { number, range } from './format.js';
import { direct, Gateway, type Forwarder } from './forwarders.js';
import { barePipe, handTuned, type HandTuned } from './hand-tuned.js';
import { Producers } from './iperf.js';
import { EchoServer, measureLatency } from './latency.js';
import { interleave, spread, type Spread } from './statistics.js';

const RELAY_GOAL = 1.2;
const PLUGIN_GOAL = 0.98;

/** One-byte echoes and short connections through one forwarder. */
interface LatencyResult {
  readonly forwarder: string;
  readonly medianMicroseconds: Spread;
  readonly p99Microseconds: Spread;
  readonly connectionsPerSecond: Spread;
}

/** The relay against a bare pipe in Node.js, and against a direct connection. Needs iperf3. */
export async function relayPart(bench: Bench): Promise<Part> {
  await using relay = await Gateway.open(bench, 'relay', 'relay');
  const loads = [ONE, FOUR, FOUR_ON_ONE];
  const pipe = barePipe(bench);
  const part = await comparison(bench, [direct, pipe, relay], [direct, pipe], loads);
  const goal = (load: Load, bound: Goal['bound']): Goal => ({
    what: `relay against ${pipe.name}, ${load.name}`,
    bound,
    wanted: RELAY_GOAL,
    ...ratioOf(part.data.throughput, load, relay.name, pipe.name),
    unit: '',
  });
  const goals = [goal(ONE, 'at least'), goal(FOUR, 'more than')];
  const processes = 'The pipe is one process; the relay has one per listener, at most one per core.';
  return { ...part, method: `${part.method} ${processes}`, name: 'Relay', goals };
}

/** A plugin against the same program configured by hand, unencrypted. Needs iperf3 and the program. */
export async function pluginPart(bench: Bench, proxy: Exclude<HandTuned, 'stunnel'>): Promise<Part> {
  const byHand = handTuned(bench, proxy);
  await using plugin = await Gateway.open(bench, `${proxy} plugin`, proxy);
  // The baseline against itself: the deviation of its ratio from 1 is the noise of this machine.
  const control = { ...byHand, name: `${byHand.name}, again` };
  const loads = [ONE, FOUR];
  const part = await comparison(bench, [byHand, plugin, control], [byHand], loads);
  const goals = loads.map((load): Goal => ({
    what: `${plugin.name} against hand-tuned, ${load.name}`,
    bound: 'at least',
    wanted: PLUGIN_GOAL,
    ...ratioOf(part.data.throughput, load, plugin.name, byHand.name),
    unit: '',
  }));
  const noise = 'The second hand-tuned one is the same as the first: its ratio shows the noise.';
  return { ...part, method: `${part.method} ${noise}`, name: `Plugin ${proxy}`, goals };
}

async function comparison(
  bench: Bench,
  contenders: readonly Forwarder[],
  baselines: readonly Forwarder[],
  loads: readonly Load[],
) {
  await using producers = await Producers.onLoopback(FOUR.listeners);
  const contest = { contenders, baselines, producers: producers.addresses };
  const throughput = [];
  for (const load of loads) throughput.push(...(await measureThroughput(bench, contest, load)));
  const latency = await compareLatency(bench, contenders);
  return {
    method:
      `One hop on loopback, iperf3 \`--reverse\` (data flow from producer to consumer) for ${bench.seconds} s, ` +
      `${bench.rounds} rounds interleaved with the order reversed every other round: median [min–max]. Ratios are ` +
      'taken round by round; forwarders restart in each round. CPU is that of the proxy processes only.',
    tables: [throughputTable('Throughput', throughput), latencyTable(latency)],
    notMeasured: [],
    broken: [],
    data: { throughput, latency },
  };
}

async function compareLatency(bench: Bench, contenders: readonly Forwarder[]): Promise<readonly LatencyResult[]> {
  await using server = await EchoServer.start(1);
  const samples = await interleave(contenders, bench.rounds, async (forwarder, round) => {
    bench.say(`echo, round ${round + 1} of ${bench.rounds}: ${forwarder.name}`);
    await using running = await forwarder.start(server.addresses);
    const [entry] = running.entries;
    if (!entry) throw new Error(`${forwarder.name} has no entry`);
    return await measureLatency(entry, bench.signal);
  });
  return contenders.map((forwarder) => {
    const mine = samples.get(forwarder) ?? [];
    return {
      forwarder: forwarder.name,
      medianMicroseconds: spread(mine.map(({ medianMicroseconds }) => medianMicroseconds)),
      p99Microseconds: spread(mine.map(({ p99Microseconds }) => p99Microseconds)),
      connectionsPerSecond: spread(mine.map(({ connectionsPerSecond }) => connectionsPerSecond)),
    };
  });
}

function latencyTable(results: readonly LatencyResult[]): Table {
  const whole = (value: number): string => number(value, 0);
  return {
    title: 'One byte there and back (2000 round trips), and 500 connections one after another',
    columns: ['way', 'median µs', 'p99 µs', 'connections/s'],
    rows: results.map(({ forwarder, medianMicroseconds, p99Microseconds, connectionsPerSecond }) => [
      forwarder,
      range(medianMicroseconds, whole),
      range(p99Microseconds, whole),
      range(connectionsPerSecond, whole),
    ]),
  };
}
