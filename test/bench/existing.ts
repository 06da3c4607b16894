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

/** The time to set up a stream on servers with many streams, against servers without any. */
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
  const times = { full: [] as number[], empty: [] as number[] };
  bench.say('existing: set-ups on both pairs of servers alternately');
  for (let i = -WARM_UPS; i < (bench.quick ? QUICK_TIMES : TIMES); i += 1) {
    for (const kind of i % 2 === 0 ? (['full', 'empty'] as const) : (['empty', 'full'] as const)) {
      const begun = performance.now();
      const stream = await up(kind === 'full' ? full : empty);
      if (i >= 0) times[kind].push(performance.now() - begun);
      await stream.down();
    }
  }
  const ratio = ratios(times.full, times.empty);
  const show = (value: number): string => number(value, 0);
  return {
    name: 'Set-up beside existing streams',
    method:
      `Two pairs of \`s2cs\`, one with ${existing} encrypted streams over ${proxy} (both sides on this machine), one with ` +
      `none; \`up\` of one more on each alternately, ${times.full.length} times: median [min–max].`,
    tables: [
      {
        title: 'From the call of `up` to ready, ms',
        columns: ['none', `beside ${existing}`, 'ratio'],
        rows: [
          [
            range(spread(times.empty), show),
            range(spread(times.full), show),
            range(ratio, (value) => number(value, 2)),
          ],
        ],
      },
    ],
    goals: [],
    notMeasured: [],
    broken: [],
    data: { proxy, existing, times, ratio },
  };
}
