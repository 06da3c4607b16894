import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { formatAddress, parseAddress, type Address } from '@scistream/core';
import { named, tcpServer } from '@scistream/core/testing';
import type { Bench, Goal, Part } from './bench.js';
import { Engine, usable, type ContainerProxy } from './engine.js';
import { Gateway } from './forwarders.js';
import { number, range } from './format.js';
import { spread, type Spread } from './statistics.js';

const TIMES = 15;
const QUICK_TIMES = 5;
const WARM_UPS = 2;
const CONTAINER_START_MS = 1_000;
/** What a new target may take, ms. */
const RETARGET_MS: Readonly<Record<ContainerProxy, number>> = { relay: 50, haproxy: 50, nginx: 300 };
/** After that a connection that never reaches the new target is a defect. */
const REACH_MS = 30_000;
const BETWEEN_ATTEMPTS_MS = 1;

type Sample = Readonly<Record<'startMs' | 'updateMs' | 'reachedMs' | 'releaseMs', number>>;

interface Times {
  readonly proxy: ContainerProxy;
  readonly runtime: 'process' | 'docker';
  /** Reservation until the listener accepts: create, check, start. */
  readonly startMs: Spread;
  /** The call itself. */
  readonly updateMs: Spread;
  /** From the same moment until a new connection has got an answer of the new target. */
  readonly reachedMs: Spread;
  readonly releaseMs: Spread;
}

/** How long a gateway takes to start a stream and to give it another target, as processes and in containers. */
export async function timesPart(bench: Bench): Promise<Part> {
  const docker = bench.missing.docker;
  const results: Times[] = [];
  for (const proxy of usable(bench)) {
    await using gateway = await Gateway.open(bench, `${proxy} process`, proxy);
    results.push(await measure(bench, gateway, proxy, 'process'));
  }
  if (docker === undefined) {
    await using engine = await Engine.start(bench);
    for (const proxy of usable(bench)) {
      await using gateway = await engine.gateway(bench, proxy);
      results.push(await measure(bench, gateway, proxy, 'docker'));
    }
  }
  const show = (value: number): string => number(value, 1);
  return {
    name: 'Start and new target',
    method:
      `Gateway alone, without control server, one stream of one listener at a time, ${bench.quick ? QUICK_TIMES : TIMES} ` +
      `times after ${WARM_UPS} to warm up: median [min–max] in ms. Start: reserve, create, check, start, until it accepts. ` +
      'Reached: from the call until a connection made meanwhile, one after another, is answered by the new target.',
    tables: [
      {
        title: 'Times in ms',
        columns: ['proxy', 'runtime', 'start', 'new target: the call', 'new target: reached', 'release'],
        rows: results.map(({ proxy, runtime, startMs, updateMs, reachedMs, releaseMs }) => [
          proxy,
          runtime,
          ...[startMs, updateMs, reachedMs, releaseMs].map((one) => range(one, show)),
        ]),
      },
    ],
    goals: results.flatMap(goalsOf),
    notMeasured: docker === undefined ? [] : [`docker: ${docker}`],
    broken: [],
    data: results,
  };
}

function goalsOf({ proxy, runtime, startMs, updateMs, reachedMs }: Times): readonly Goal[] {
  const goal = (what: string, wanted: number, found: Spread): Goal => ({
    what: `${what}, ${proxy} in ${runtime}, median`,
    bound: 'at most',
    wanted,
    got: found.median,
    spread: found,
    unit: 'ms',
  });
  return [
    ...(runtime === 'docker' ? [goal('start of a stream', CONTAINER_START_MS, startMs)] : []),
    goal('new target', RETARGET_MS[proxy], updateMs),
    goal('new target reached', RETARGET_MS[proxy], reachedMs),
  ];
}

async function measure(
  bench: Bench,
  gateway: Gateway,
  proxy: ContainerProxy,
  runtime: Times['runtime'],
): Promise<Times> {
  await using one = await tcpServer(named('1'));
  await using two = await tcpServer(named('2'));
  bench.say(`times: ${gateway.name}`);
  const samples: Sample[] = [];
  for (let i = -WARM_UPS; i < (bench.quick ? QUICK_TIMES : TIMES); i += 1) {
    bench.signal.throwIfAborted();
    const sample = await measureOnce(gateway, one.address, two.address);
    if (i >= 0) samples.push(sample);
  }
  const of = (pick: (sample: Sample) => number): Spread => spread(samples.map(pick));
  return {
    proxy,
    runtime,
    startMs: of(({ startMs }) => startMs),
    updateMs: of(({ updateMs }) => updateMs),
    reachedMs: of(({ reachedMs }) => reachedMs),
    releaseMs: of(({ releaseMs }) => releaseMs),
  };
}

async function measureOnce(gateway: Gateway, one: Address, two: Address): Promise<Sample> {
  const [stream] = await gateway.startAll([{ targets: [formatAddress(one)], role: 'inbound' }]);
  const entry = parseAddress(stream?.entries[0] ?? '');
  const uid = stream?.uid ?? '';
  if ((await firstByte(entry)) !== '1') throw new Error(`${gateway.name} does not lead to its first target`);
  const begun = performance.now();
  const [{ updateMs }, reachedMs] = await Promise.all([
    gateway.retarget(uid, [two]),
    until(entry, '2').then((at) => at - begun),
  ]);
  const asked = performance.now();
  await gateway.releaseAll([uid]);
  return { startMs: stream?.startMs ?? NaN, updateMs, reachedMs, releaseMs: performance.now() - asked };
}

/** When a connection was answered by the target of that name. */
async function until(entry: Address, name: string): Promise<number> {
  const deadline = performance.now() + REACH_MS;
  while ((await firstByte(entry)) !== name) {
    if (performance.now() > deadline) throw new Error(`no connection has reached the new target in ${REACH_MS} ms`);
    await pause(BETWEEN_ATTEMPTS_MS);
  }
  return performance.now();
}

/** What the target says first; empty when the connection ended without a word. */
async function firstByte({ host, port }: Address): Promise<string> {
  const socket = connect({ host, port });
  const closed = once(socket, 'close').catch(() => undefined);
  socket.on('error', () => socket.destroy());
  const heard = once(socket, 'data').then(
    ([data]: unknown[]) => (Buffer.isBuffer(data) ? data.toString().slice(0, 1) : ''),
    () => '',
  );
  const first = await Promise.race([heard, closed.then(() => '')]);
  socket.destroy();
  await closed;
  return first;
}
