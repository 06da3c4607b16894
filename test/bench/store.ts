import { randomUUID } from 'node:crypto';
import { freemem } from 'node:os';
import { formatAddress, type StreamRecord } from '@scistream/core';
import { LevelStreamStore } from '@scistream/core/server';
import { testRecord } from '@scistream/core/testing';
import { processesBelow } from '../support/leftovers.js';
import { newDirectory, type Bench, type Goal, type Part, type Table } from './bench.js';
import { Facilities } from './control-servers.js';
import { Gateway } from './forwarders.js';
import { number } from './format.js';
import { EchoServer } from './latency.js';
import { residentBytes } from './process.js';
import { quantile, spread } from './statistics.js';

const WRITES = 1_000;
const QUICK_WRITES = 200;
const WRITE_GOAL_MS = 2;
/** How many streams the goal of the adoption is for. */
const MANY = 500;
const ADOPTION_GOAL_MS = 5_000;
/** What this machine is given to take charge of; the relay has a process of some 50 MB for each. */
const ADOPTED = { relay: 60, haproxy: 200 } as const;
const QUICK_ADOPTED = { relay: 10, haproxy: 40 } as const;
/** Started at once. */
const BATCH = 20;
const PROCESS_BYTES = { relay: 80e6, haproxy: 40e6 } as const;
const WAITING = 1_000;
const QUICK_WAITING = 200;

interface Adoption {
  readonly proxy: keyof typeof ADOPTED;
  readonly streams: number;
  readonly emptyMs: number;
  readonly adoptMs: number;
  /** Resident memory of the proxies of one stream. */
  readonly bytesPerStream: number;
}

/** What is durable, and what it costs: record writes, taking charge after a crash, memory of requests that wait. */
export async function storePart(bench: Bench): Promise<Part> {
  const writes = await measureWrites(bench);
  const adoptions: Adoption[] = [];
  for (const proxy of ['relay', 'haproxy'] as const) {
    if (proxy === 'relay' || bench.missing.haproxy === undefined) adoptions.push(await measureAdoption(bench, proxy));
  }
  const waiting = await measureWaiting(bench);
  return {
    name: 'Store',
    method:
      `Writes: one record after another, each with an event, synced to the disk of ${bench.directory}. Taking charge: the ` +
      'gateway process is killed (SIGKILL) and started again on the same state; ms until it is ready, every stream as it ' +
      `was. Waiting: one \`s2cs\`, requests without HELLO, each with a listener bound.`,
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
      adoptionTable(adoptions),
      {
        title: 'Memory of requests that wait',
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
      ...adoptions.map(adoptionGoal),
    ],
    notMeasured: bench.missing.haproxy === undefined ? [] : [`haproxy: ${bench.missing.haproxy}`],
    broken: [],
    data: { writes, adoptions, waiting },
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

async function measureAdoption(bench: Bench, proxy: Adoption['proxy']): Promise<Adoption> {
  const fit = Math.floor(freemem() / 2 / PROCESS_BYTES[proxy]);
  const streams = Math.max(1, Math.min((bench.quick ? QUICK_ADOPTED : ADOPTED)[proxy], fit));
  await using server = await EchoServer.start(1);
  const targets = server.addresses.map(formatAddress);
  await using gateway = await Gateway.open(bench, proxy, proxy, { ports: streams });
  const { openMs: emptyMs } = gateway;
  bench.say(`store: ${streams} streams over ${proxy}`);
  const uids: string[] = [];
  while (uids.length < streams) {
    bench.signal.throwIfAborted();
    const batch = Array.from({ length: Math.min(BATCH, streams - uids.length) }, () => ({
      targets,
      role: 'PROD' as const,
    }));
    uids.push(...(await gateway.startAll(batch)).map(({ uid }) => uid));
  }
  const before = await processesBelow(gateway.state);
  const bytes = before.reduce((sum, pid) => sum + residentBytes(pid), 0);
  bench.say(`store: the gateway is killed and takes charge of ${streams} streams over ${proxy}`);
  await gateway.crash();
  const after = await processesBelow(gateway.state);
  if (before.some((pid) => !after.includes(pid))) throw new Error(`${proxy}: a stream did not survive its gateway`);
  return { proxy, streams, emptyMs, adoptMs: gateway.openMs, bytesPerStream: bytes / streams };
}

const perStream = ({ adoptMs, emptyMs, streams }: Adoption): number => (adoptMs - emptyMs) / streams;

/** What {@link MANY} would take if each takes as long as one of those that were measured. */
const extrapolated = (adoption: Adoption): number => adoption.emptyMs + MANY * perStream(adoption);

function adoptionTable(adoptions: readonly Adoption[]): Table {
  return {
    title: 'Taking charge of the streams of a gateway that was killed',
    columns: [
      'proxy',
      'streams',
      'ms without any',
      'ms',
      'ms each',
      `ms for ${MANY}, extrapolated`,
      'RSS MB each (shared pages counted)',
    ],
    rows: adoptions.map((adoption) => [
      adoption.proxy,
      `${adoption.streams}`,
      number(adoption.emptyMs, 0),
      number(adoption.adoptMs, 0),
      number(perStream(adoption), 2),
      number(extrapolated(adoption), 0),
      number(adoption.bytesPerStream / 1e6, 0),
    ]),
  };
}

const adoptionGoal = (adoption: Adoption): Goal => ({
  what: `taking charge of ${MANY} streams over ${adoption.proxy}, extrapolated from ${adoption.streams}`,
  bound: 'at most',
  wanted: ADOPTION_GOAL_MS,
  got: extrapolated(adoption),
  unit: 'ms',
});

async function measureWaiting(bench: Bench) {
  const requests = bench.quick ? QUICK_WAITING : WAITING;
  await using facilities = await Facilities.start(bench, { ports: requests });
  const [server] = facilities.servers;
  bench.say(`store: ${requests} requests that wait`);
  const beforeBytes = server.residentBytes;
  const begun = performance.now();
  await server.fillWithRequests(requests, bench.signal);
  return { requests, beforeBytes, bytes: server.residentBytes, seconds: (performance.now() - begun) / 1000 };
}
