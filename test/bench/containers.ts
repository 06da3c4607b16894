import type { Bench, Goal, Part } from './bench.js';
import { Engine, usable } from './engine.js';
import { Gateway } from './forwarders.js';
import { Producers } from './iperf.js';
import { FOUR, measureThroughput, ONE, ratioOf, throughputTable, type Throughput } from './throughput.js';

const GOAL = 0.98;
const LOADS = [ONE, FOUR];

/** Proxies in containers with the network of the machine, against the same proxies as processes. Needs iperf3, root, docker. */
export async function dockerPart(bench: Bench): Promise<Part> {
  await using engine = await Engine.start(bench);
  await using producers = await Producers.onLoopback(FOUR.listeners);
  const tables = [];
  const goals: Goal[] = [];
  const data: Record<string, readonly Throughput[]> = {};
  for (const proxy of usable(bench)) {
    await using process = await Gateway.open(bench, `${proxy} process`, proxy);
    await using container = await engine.gateway(bench, proxy);
    const control = { ...process.hop('inbound'), name: `${process.name}, again` };
    const contest = { contenders: [process, container, control], baselines: [process], producers: producers.addresses };
    const throughput: Throughput[] = [];
    for (const load of LOADS) throughput.push(...(await measureThroughput(bench, contest, load)));
    data[proxy] = throughput;
    tables.push(throughputTable(`Throughput, ${proxy}`, throughput));
    for (const load of LOADS) {
      const ratio = ratioOf(throughput, load, container.name, process.name);
      goals.push({
        what: `${container.name} against process, ${load.name}`,
        bound: 'at least',
        wanted: GOAL,
        ...ratio,
        unit: '',
      });
    }
  }
  return {
    name: 'Containers against processes',
    method:
      `Runtime \`docker\` with the network of the machine against \`process\`: one hop on loopback, iperf3 \`--reverse\` ` +
      `for ${bench.seconds} s, ${bench.rounds} rounds interleaved: median [min–max], ratios round by round. The second ` +
      '`process` shows the noise. CPU is measured for processes only.',
    tables,
    goals,
    notMeasured: [],
    broken: [],
    data,
  };
}
