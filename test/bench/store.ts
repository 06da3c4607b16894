import { randomUUID } from 'node:crypto';
import { LevelStreamStore, type StreamRecord } from '@scistream/core/internal';
import { testRecord } from '@scistream/core/testing';
import { newDirectory, type Bench, type Part } from './bench.js';
import { Facilities } from './control-servers.js';
import { number } from './format.js';
import { quantile, spread } from './statistics.js';

const WRITES = 1_000;
const QUICK_WRITES = 200;
const WRITE_GOAL_MS = 2;
const WAITING = 1_000;
const QUICK_WAITING = 200;

/** The cost of durable records and of waiting requests: writes and memory. */
export async function storePart(bench: Bench): Promise<Part> {
  const writes = await measureWrites(bench);
  const waiting = await measureWaiting(bench);
  return {
    name: 'Store',
    method:
      `Writes: one record after another, each with an event, synced to the disk of ${bench.directory}. ` +
      `Waiting: one \`s2cs\`, requests without HELLO, each with a listener bound.`,
    tables: [
      {
        title: 'Record writes, ms',
        columns: ['writes', 'median', 'p99', 'max'],
        rows: [
          [
            `${writes.length}`,
            ...[quantile(writes, 0.5), quantile(writes, 0.99), Math.max(...writes)].map((ms) => number(ms, 2)),
          ],
        ],
      },
      {
        title: 'Memory of waiting requests',
        columns: ['requests', 'RSS MB before', 'RSS MB with them', 'kB each', 'wall s'],
        rows: [
          [
            `${waiting.requests}`,
            number(waiting.beforeBytes / 1e6, 0),
            number(waiting.bytes / 1e6, 0),
            number((waiting.bytes - waiting.beforeBytes) / 1e3 / waiting.requests, 1),
            number(waiting.seconds, 1),
          ],
        ],
      },
    ],
    goals: [
      {
        what: 'record write, median',
        bound: 'at most',
        wanted: WRITE_GOAL_MS,
        got: quantile(writes, 0.5),
        spread: { ...spread(writes), max: quantile(writes, 0.99) },
        unit: 'ms',
      },
    ],
    notMeasured: [],
    broken: [],
    data: { writes, waiting },
  };
}

async function measureWrites(bench: Bench): Promise<readonly number[]> {
  const store = new LevelStreamStore(await newDirectory(bench, 'store'));
  await store.open();
  try {
    const times: number[] = [];
    let record: StreamRecord = testRecord(randomUUID());
    await store.create(record);
    for (let i = 0; i < (bench.quick ? QUICK_WRITES : WRITES); i += 1) {
      bench.signal.throwIfAborted();
      const begun = performance.now();
      const event = { at: record.createdAt, what: 'targets' } as const;
      record = await store.update(record.uid, record.version, { targets: record.listeners }, event);
      times.push(performance.now() - begun);
    }
    return times;
  } finally {
    await store.close();
  }
}

async function measureWaiting(bench: Bench) {
  const requests = bench.quick ? QUICK_WAITING : WAITING;
  await using facilities = await Facilities.start(bench, { ports: requests });
  const [server] = facilities.servers;
  bench.say(`store: ${requests} waiting requests`);
  const beforeBytes = server.residentBytes;
  const begun = performance.now();
  await server.fillWithRequests(requests, bench.signal);
  return { requests, beforeBytes, bytes: server.residentBytes, seconds: (performance.now() - begun) / 1000 };
}
