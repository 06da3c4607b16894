import { isDeepStrictEqual } from 'node:util';
import { formatAddress, messageOf, poll, within } from '@scistream/core';
import { parseAddress } from '@scistream/core/internal';
import { exchange, named, tcpServer } from '@scistream/core/testing';
import { leftovers } from '../support/leftovers.js';
import type { Bench, Part } from './bench.js';
import { Engine, usable, type ContainerProxy } from './engine.js';
import type { Gateway } from './forwarders.js';
import { number } from './format.js';

const STREAMS = 50;
const QUICK_STREAMS = 10;
/** Generous, because the machine is busy with all of them. */
const CARRY_MS = 60_000;
const SETTLE_MS = 30_000;

/** Resources of streams on the engine and on the machine. */
interface Holding {
  readonly containers: number;
  readonly volumes: number;
  readonly listening: number;
  readonly files: number;
}

interface Result {
  readonly proxy: ContainerProxy;
  readonly upMs: number;
  /** Number of streams that carried a byte in both directions. */
  readonly carried: number;
  readonly downMs: number;
  readonly during: Holding;
  readonly before: Holding;
  readonly after: Holding;
  readonly errors: readonly string[];
}

/** Many streams in containers on one gateway: starts all, sends a byte through each, releases all. Needs root and docker. */
export async function manyPart(bench: Bench): Promise<Part> {
  const streams = bench.quick ? QUICK_STREAMS : STREAMS;
  await using engine = await Engine.start(bench);
  const results: Result[] = [];
  for (const proxy of usable(bench).filter((name) => name !== 'relay' || !bench.quick)) {
    await using gateway = await engine.gateway(bench, proxy, streams);
    results.push(await upAndDown(bench, engine, gateway, proxy, streams));
  }
  const show = ({ containers, volumes, listening, files }: Holding): string =>
    [containers, volumes, listening, files].join(', ');
  return {
    name: 'Many containers at the same time',
    method: `${streams} streams of one listener in containers on one gateway, requested concurrently and released concurrently.`,
    tables: [
      {
        title: 'Seconds, and resources (containers, volumes, listening ports, files)',
        columns: ['proxy', 'all up s', 'carried', 'all down s', 'before', 'during', 'after'],
        rows: results.map(({ proxy, upMs, carried, downMs, before, during, after }) => [
          proxy,
          number(upMs / 1000, 1),
          `${carried} of ${streams}`,
          number(downMs / 1000, 1),
          ...[before, during, after].map(show),
        ]),
      },
    ],
    goals: [],
    notMeasured: [],
    broken: results.flatMap(({ proxy, carried, before, after, errors }) => [
      ...new Set(errors),
      ...(carried < streams ? [`${proxy}: ${streams - carried} of ${streams} streams carry nothing`] : []),
      ...(isDeepStrictEqual(before, after) ? [] : [`${proxy}: left behind: ${show(after)}, before ${show(before)}`]),
    ]),
    data: { streams, results },
  };
}

async function upAndDown(
  bench: Bench,
  engine: Engine,
  gateway: Gateway,
  proxy: ContainerProxy,
  streams: number,
): Promise<Result> {
  await using server = await tcpServer(named('n'));
  const targets = [formatAddress(server.address)];
  const before = await holding(engine, gateway);
  bench.say(`many: ${streams} × ${gateway.name}`);
  const begun = performance.now();
  const started = await gateway.startAll(
    Array.from({ length: streams }, () => ({ targets, role: 'inbound' as const })),
  );
  const upMs = performance.now() - begun;
  const entries = started.flatMap(({ entries: [entry] }) => (entry === undefined ? [] : parseAddress(entry)));
  const answers = await Promise.allSettled(
    entries.map((entry) =>
      within(exchange(entry, 'x'), CARRY_MS, () => new Error(`no data came through ${formatAddress(entry)}`)),
    ),
  );
  const during = await holding(engine, gateway);
  const asked = performance.now();
  await gateway.releaseAll(started.map(({ uid }) => uid));
  const downMs = performance.now() - asked;
  return {
    proxy,
    upMs,
    carried: answers.filter((answer) => answer.status === 'fulfilled' && answer.value === 'nx').length,
    downMs,
    before,
    during,
    after: await settled(bench, engine, gateway, before),
    errors: answers.flatMap((answer) => (answer.status === 'rejected' ? [messageOf(answer.reason)] : [])),
  };
}

async function holding(engine: Engine, gateway: Gateway): Promise<Holding> {
  const { listening, files } = await leftovers(gateway.state, gateway.ports);
  return { ...(await engine.count()), listening: listening.length, files: files.length };
}

/** The resources when they are as before, or after a time limit. */
async function settled({ signal }: Bench, engine: Engine, gateway: Gateway, before: Holding): Promise<Holding> {
  let last = before;
  const same = async (): Promise<true | undefined> => {
    last = await holding(engine, gateway);
    return isDeepStrictEqual(last, before) || undefined;
  };
  const late = new Error('not as before');
  await poll(same, { timeoutMs: SETTLE_MS, intervalMs: 100, signal }, () => late).catch((error: unknown) => {
    if (error !== late) throw error;
  });
  return last;
}
