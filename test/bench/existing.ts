import { formatAddress } from '@scistream/core';
import type { Bench, Part } from './bench.js';
import { Facilities } from './control-servers.js';
import { number, range } from './format.js';
import { EchoServer } from './latency.js';
import { ratios, spread } from './statistics.js';

const EXISTING = 100;
const QUICK_EXISTING = 20;
const TIMES = 15;
const QUICK_TIMES = 5;
const WARM_UPS = 3;
const AT_ONCE = 10;
/** Limit for the time until `watch` reports a change, ms. */
const REPORT_MS = 500;

/** The time to set up and to end a stream on servers with many streams, against servers without any. */
export async function existingPart(bench: Bench): Promise<Part> {
  const proxy = bench.missing.haproxy === undefined ? 'haproxy' : 'relay';
  const existing = bench.quick ? QUICK_EXISTING : EXISTING;
  await using producer = await EchoServer.start(1);
  await using full = await Facilities.start(bench, { ports: existing + 2 * AT_ONCE });
  await using empty = await Facilities.start(bench);
  const targets = producer.addresses.map(formatAddress);
  const up = ({ client, sides }: Facilities) =>
    client.up({ ...sides, producer: targets, proxy, encryption: 'tls' }, bench.signal);
  bench.say(`existing: ${existing} streams over ${proxy}`);
  for (let made = 0; made < existing; made += AT_ONCE) {
    const outcomes = await Promise.allSettled(
      Array.from({ length: Math.min(AT_ONCE, existing - made) }, () => up(full)),
    );
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed) throw failed.reason;
  }
  const none = { full: [] as number[], empty: [] as number[] };
  const times = structuredClone(none);
  const ends = structuredClone(none);
  const reports = structuredClone(none);
  bench.say('existing: set-ups on both pairs of servers alternately');
  for (let i = -WARM_UPS; i < (bench.quick ? QUICK_TIMES : TIMES); i += 1) {
    for (const kind of i % 2 === 0 ? (['full', 'empty'] as const) : (['empty', 'full'] as const)) {
      const begun = performance.now();
      const stream = await up(kind === 'full' ? full : empty);
      const ready = performance.now();
      const watch = stream.watch(bench.signal);
      await watch.next();
      const asked = performance.now();
      const seen = endOf(watch);
      await stream.down();
      const ended = performance.now();
      if (i < 0) continue;
      times[kind].push(ready - begun);
      ends[kind].push(ended - asked);
      reports[kind].push((await seen) - asked);
    }
  }
  const row = (what: string, { full: beside, empty: alone }: typeof none): readonly string[] => [
    what,
    ...[alone, beside].map((one) => range(spread(one), (value) => number(value, 0))),
    range(ratios(beside, alone), (value) => number(value, 2)),
  ];
  return {
    name: 'Set-up beside existing streams',
    method:
      `Two pairs of \`s2cs\`, one with ${existing} encrypted streams over ${proxy} (both sides on this machine), one with ` +
      `none; \`up\`, \`watch\` and \`down\` of one more on each alternately, ${times.full.length} times: median [min–max].`,
    tables: [
      {
        title: 'Times in ms',
        columns: ['from … to', 'none', `beside ${existing}`, 'ratio'],
        rows: [
          row('the call of `up` to ready', times),
          row('the call of `down` to its return', ends),
          row('the call of `down` to the end in `watch`', reports),
        ],
      },
    ],
    goals: [
      {
        what: 'a change reported by `watch`, median',
        bound: 'at most',
        wanted: REPORT_MS,
        got: spread(reports.full).median,
        spread: spread(reports.full),
        unit: 'ms',
      },
    ],
    notMeasured: [],
    broken: [],
    data: { proxy, existing, times, ends, reports },
  };
}

/** The time when `watch` has reported the end of the stream. */
async function endOf(watch: AsyncIterable<unknown>): Promise<number> {
  for await (const _status of watch);
  return performance.now();
}
