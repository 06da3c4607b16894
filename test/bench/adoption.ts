import { freemem } from 'node:os';
import { formatAddress } from '@scistream/core';
import { processesBelow } from '../support/leftovers.js';
import type { Bench, Goal, Part } from './bench.js';
import { Gateway } from './forwarders.js';
import { number } from './format.js';
import { EchoServer } from './latency.js';
import { residentBytes } from './process.js';

/** Number of streams of the goal. */
const MANY = 500;
const GOAL_MS = 5_000;
const SIZES = [50, 200, MANY] as const;
const QUICK_SIZES = [10, 40] as const;
/** Number of streams started at a time. */
const BATCH = 20;
/** Expected memory of a stream at most. Numbers of streams that do not fit into half of the free memory are left out. */
const PROCESS_BYTES = { relay: 50e6, haproxy: 20e6 } as const;

interface Adoption {
  readonly proxy: keyof typeof PROCESS_BYTES;
  readonly streams: number;
  /** Ms from the start of the gateway until it was ready, without any stream. */
  readonly emptyMs: number;
  readonly adoptMs: number;
  /** Resident memory of the proxies of one stream. */
  readonly bytesPerStream: number;
}

/** How long a killed gateway takes to recover its streams. */
export async function adoptionPart(bench: Bench): Promise<Part> {
  const results: Adoption[] = [];
  const left: string[] = bench.missing.haproxy === undefined ? [] : [`haproxy: ${bench.missing.haproxy}`];
  for (const proxy of ['relay', 'haproxy'] as const) {
    if (proxy === 'haproxy' && bench.missing.haproxy !== undefined) continue;
    for (const streams of bench.quick ? QUICK_SIZES : SIZES) {
      if (streams * PROCESS_BYTES[proxy] <= freemem() / 2) results.push(await measure(bench, proxy, streams));
      else left.push(`${streams} streams over ${proxy} do not fit into half of the free memory`);
    }
  }
  return {
    name: 'Recovery',
    method:
      'The gateway process is killed (SIGKILL) and restarted on the same state. Every stream has one listener and its own ' +
      'proxy process. Measured: ms until the gateway is ready and has recovered every stream.',
    tables: [
      {
        title: 'Recovery of the streams of a killed gateway',
        columns: ['proxy', 'streams', 'ms without any', 'ms', 'ms each', 'RSS MB each (shared pages counted)'],
        rows: results.map((result) => [
          result.proxy,
          `${result.streams}`,
          number(result.emptyMs, 0),
          number(result.adoptMs, 0),
          number((result.adoptMs - result.emptyMs) / result.streams, 2),
          number(result.bytesPerStream / 1e6, 0),
        ]),
      },
    ],
    goals: results.filter(({ streams }) => streams === MANY).map(goalOf),
    notMeasured: left,
    broken: [],
    data: results,
  };
}

async function measure(bench: Bench, proxy: Adoption['proxy'], streams: number): Promise<Adoption> {
  await using server = await EchoServer.start(1);
  const targets = server.addresses.map(formatAddress);
  await using gateway = await Gateway.open(bench, proxy, proxy, { ports: streams });
  const { openMs: emptyMs } = gateway;
  bench.say(`adoption: ${streams} streams over ${proxy}`);
  for (let made = 0; made < streams; made += BATCH) {
    bench.signal.throwIfAborted();
    const count = Math.min(BATCH, streams - made);
    await gateway.startAll(Array.from({ length: count }, () => ({ targets, role: 'inbound' as const })));
  }
  const before = await processesBelow(gateway.state);
  const bytes = before.reduce((sum, pid) => sum + residentBytes(pid), 0);
  bench.say(`adoption: kill the gateway, which recovers ${streams} streams over ${proxy}`);
  await gateway.crash();
  const after = await processesBelow(gateway.state);
  if (before.some((pid) => !after.includes(pid))) throw new Error(`${proxy}: a stream did not survive its gateway`);
  return { proxy, streams, emptyMs, adoptMs: gateway.openMs, bytesPerStream: bytes / streams };
}

const goalOf = ({ proxy, adoptMs }: Adoption): Goal => ({
  what: `recovery of ${MANY} streams over ${proxy}`,
  bound: 'at most',
  wanted: GOAL_MS,
  got: adoptMs,
  unit: 'ms',
});
