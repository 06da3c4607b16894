import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { formatAddress, type Address } from '@scistream/core';
import { parseAddress } from '@scistream/core/internal';
import { named, tcpServer } from '@scistream/core/testing';
import type { Bench, Goal, Part } from './bench.js';
import { Engine, usable, type ContainerProxy } from './engine.js';
import { processesBelow } from '../support/leftovers.js';
import { Gateway } from './forwarders.js';
import { number, range } from './format.js';
import { spread, type Spread } from './statistics.js';

const TIMES = 15;
const QUICK_TIMES = 5;
const WARM_UPS = 2;
const CONTAINER_START_MS = 1_000;
/** Limit for a new target, ms. */
const RETARGET_MS: Readonly<Record<ContainerProxy, number>> = { relay: 50, haproxy: 50, nginx: 300 };
/** Limit for the restart of a killed proxy, ms. */
const RESTART_MS = 2_000;
/** A connection that takes longer to reach its target is a defect, ms. */
const REACH_MS = 30_000;
const BETWEEN_ATTEMPTS_MS = 1;

type Sample = Readonly<Record<'startMs' | 'updateMs' | 'reachedMs' | 'restartMs' | 'releaseMs', number>>;

interface Times {
  readonly proxy: ContainerProxy;
  readonly runtime: 'process' | 'docker';
  /** From the reservation until the listener accepts: create, check, start. */
  readonly startMs: Spread;
  /** Duration of the call. */
  readonly updateMs: Spread;
  /** From the start of the call until a new connection gets an answer of the new target. */
  readonly reachedMs: Spread;
  /** From the kill until a new connection gets an answer. Only in `process`. */
  readonly restartMs?: Spread;
  readonly releaseMs: Spread;
}

/** How long a gateway takes to start a stream and to set another target, as processes and in containers. */
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
      `A gateway without control server, one stream with one listener at a time, ${bench.quick ? QUICK_TIMES : TIMES} ` +
      `times after ${WARM_UPS} to warm up: median [min–max] in ms. Start: reserve, create, check, start, until it accepts. ` +
      'Reached: from the call until the new target answers one of the consecutive new connections. ' +
      'Restart: from SIGKILL to the processes of the proxy until a connection is answered again.',
    tables: [
      {
        title: 'Times in ms',
        columns: ['proxy', 'runtime', 'start', 'new target: the call', 'new target: reached', 'restart', 'release'],
        rows: results.map(({ proxy, runtime, startMs, updateMs, reachedMs, restartMs, releaseMs }) => [
          proxy,
          runtime,
          ...[startMs, updateMs, reachedMs, restartMs, releaseMs].map((one) => (one ? range(one, show) : '–')),
        ]),
      },
    ],
    goals: results.flatMap(goalsOf),
    notMeasured: docker === undefined ? [] : [`docker: ${docker}`],
    broken: [],
    data: results,
  };
}

function goalsOf({ proxy, runtime, startMs, updateMs, reachedMs, restartMs }: Times): readonly Goal[] {
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
    ...(restartMs ? [goal('restart of a killed proxy', RESTART_MS, restartMs)] : []),
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
    const sample = await measureOnce(gateway, one.address, two.address, runtime);
    if (i >= 0) samples.push(sample);
  }
  const of = (pick: (sample: Sample) => number): Spread => spread(samples.map(pick));
  return {
    proxy,
    runtime,
    startMs: of(({ startMs }) => startMs),
    updateMs: of(({ updateMs }) => updateMs),
    reachedMs: of(({ reachedMs }) => reachedMs),
    ...(runtime === 'process' ? { restartMs: of(({ restartMs }) => restartMs) } : {}),
    releaseMs: of(({ releaseMs }) => releaseMs),
  };
}

async function measureOnce(gateway: Gateway, one: Address, two: Address, runtime: Times['runtime']): Promise<Sample> {
  const [stream] = await gateway.startAll([{ targets: [formatAddress(one)], role: 'inbound' }]);
  const entry = parseAddress(stream?.entries[0] ?? '');
  const uid = stream?.uid ?? '';
  if ((await firstByte(entry)) !== '1') throw new Error(`${gateway.name} does not lead to its first target`);
  const begun = performance.now();
  const [{ updateMs }, reachedMs] = await Promise.all([
    gateway.retarget(uid, [two]),
    until(entry, '2').then((at) => at - begun),
  ]);
  const restartMs = runtime === 'process' ? await restart(gateway, entry) : NaN;
  const asked = performance.now();
  await gateway.releaseAll([uid]);
  return { startMs: stream?.startMs ?? NaN, updateMs, reachedMs, restartMs, releaseMs: performance.now() - asked };
}

/** Kills the proxy and waits until the gateway has restarted it. @returns ms */
async function restart(gateway: Gateway, entry: Address): Promise<number> {
  for (const pid of await processesBelow(gateway.state)) process.kill(pid, 'SIGKILL');
  const killed = performance.now();
  return (await until(entry, '2')) - killed;
}

/** The time when a connection was answered by the target with this name. */
async function until(entry: Address, name: string): Promise<number> {
  const deadline = performance.now() + REACH_MS;
  while ((await firstByte(entry)) !== name) {
    if (performance.now() > deadline) throw new Error(`no connection has reached the target in ${REACH_MS} ms`);
    await pause(BETWEEN_ATTEMPTS_MS);
  }
  return performance.now();
}

/** The first byte from the target; empty if the connection ended without one. */
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
