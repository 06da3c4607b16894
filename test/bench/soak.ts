import { isDeepStrictEqual } from 'node:util';
import { formatAddress, messageOf, poll } from '@scistream/core';
import type { Bench, Part } from './bench.js';
import { Facilities, type Footprint } from './control-servers.js';
import { number } from './format.js';
import { EchoServer } from './latency.js';

const STREAMS = 200;
const QUICK_STREAMS = 60;
const FIRST_BATCH = 40;
const AT_ONCE = 20;
const WARM_UPS = 3;
const SETTLE_MS = 10_000;
const SIDES = ['inbound', 'outbound'] as const;

interface SideResult {
  readonly side: (typeof SIDES)[number];
  readonly residentBytes: { readonly afterFirstBatch: number; readonly afterAll: number };
  readonly before: Footprint;
  readonly after: Footprint;
}

/** Many streams on one pair of servers. None may fail, and nothing may be left. */
export async function soakPart(bench: Bench): Promise<Part> {
  const total = bench.quick ? QUICK_STREAMS : STREAMS;
  await using facilities = await Facilities.start(bench);
  await using producer = await EchoServer.start(1);
  const targets = producer.addresses.map(formatAddress);
  const errors: string[] = [];
  const streams = (count: number): Promise<void> => upAndDown(bench, facilities, targets, count, errors);

  await streams(WARM_UPS);
  const before = await footprints(facilities);
  const begun = performance.now();
  bench.say(`soak: the first ${FIRST_BATCH} streams`);
  await streams(FIRST_BATCH);
  const afterFirstBatch = facilities.servers.map((server) => server.residentBytes);
  bench.say(`soak: ${total - FIRST_BATCH} more streams`);
  await streams(total - FIRST_BATCH);
  const seconds = (performance.now() - begun) / 1000;
  const afterAll = facilities.servers.map((server) => server.residentBytes);
  const after = await settled(bench, facilities, before);

  const sides = SIDES.map((side, i): SideResult => ({
    side,
    residentBytes: { afterFirstBatch: afterFirstBatch[i] ?? NaN, afterAll: afterAll[i] ?? NaN },
    before: at(before, i),
    after: at(after, i),
  }));
  return {
    name: 'Soak',
    method:
      `${total} streams of one connection over the relay, up (verified) and down, ${AT_ONCE} at a time, on one pair of ` +
      `\`s2cs\`: ${errors.length} errors, ${number(seconds, 1)} s.`,
    tables: [
      {
        title: 'Resources of the servers, before and after',
        columns: ['side', `RSS MB after ${FIRST_BATCH}`, `RSS MB after ${total}`, ...Object.keys(FOOTPRINT)],
        rows: sides.map(({ side, residentBytes, before: was, after: is }) => [
          side,
          megabytes(residentBytes.afterFirstBatch),
          megabytes(residentBytes.afterAll),
          ...Object.values(FOOTPRINT).map((key) => `${was[key]} → ${is[key]}`),
        ]),
      },
    ],
    goals: [],
    notMeasured: [],
    broken: [...new Set(errors), ...sides.flatMap(leftBehind)],
    data: { streams: total, atOnce: AT_ONCE, errors, seconds, sides },
  };
}

/** Resources of a server, by their names in the table. */
const FOOTPRINT = {
  descriptors: 'descriptors',
  'leased ports': 'leasedPorts',
  'listening ports': 'listeningPorts',
  'proxy processes': 'proxyProcesses',
  'instance directories': 'instanceDirectories',
} as const satisfies Readonly<Record<string, keyof Footprint>>;

/** Sets up and releases `count` streams, `AT_ONCE` at a time. Notes failures and continues. */
async function upAndDown(
  { signal }: Bench,
  { client, sides }: Facilities,
  producer: readonly string[],
  count: number,
  errors: string[],
): Promise<void> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      signal.throwIfAborted();
      left -= 1;
      try {
        const stream = await client.up({ ...sides, producer, proxy: 'relay', encryption: 'none' }, signal);
        await stream.down();
      } catch (error) {
        signal.throwIfAborted();
        errors.push(messageOf(error));
      }
    }
  };
  // All workers finish even if the run ends early: each of them rolls back the stream that it is making.
  await Promise.allSettled(Array.from({ length: AT_ONCE }, worker));
  signal.throwIfAborted();
}

const footprints = (facilities: Facilities): Promise<readonly Footprint[]> =>
  Promise.all(facilities.servers.map((server) => server.footprint()));

/** The resources when they are as before, or after a time limit, because the last processes may still be ending. */
async function settled(
  { signal }: Bench,
  facilities: Facilities,
  before: readonly Footprint[],
): Promise<readonly Footprint[]> {
  let last: readonly Footprint[] = [];
  const same = async (): Promise<true | undefined> => {
    last = await footprints(facilities);
    return isDeepStrictEqual(last, before) || undefined;
  };
  const late = new Error('not as before');
  await poll(same, { timeoutMs: SETTLE_MS, intervalMs: 100, signal }, () => late).catch((error: unknown) => {
    if (error !== late) throw error;
  });
  return last;
}

function leftBehind({ side, before, after }: SideResult): readonly string[] {
  return Object.entries(FOOTPRINT)
    .filter(([, key]) => after[key] > before[key])
    .map(([name, key]) => `${side} side: ${after[key]} ${name}, before the streams ${before[key]}`);
}

function at(footprint: readonly Footprint[], i: number): Footprint {
  const found = footprint[i];
  if (!found) throw new Error(`no server ${i}`);
  return found;
}

const megabytes = (bytes: number): string => number(bytes / 1e6, 0);
