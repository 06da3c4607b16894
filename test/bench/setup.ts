import { formatAddress, type Address } from '@scistream/core';
import { makeCredentials, type ProgressEvent } from '@scistream/core/client';
import type { Bench, Goal, Part, Table } from './bench.js';
import { Facilities } from './control-servers.js';
import { number } from './format.js';
import { EchoServer } from './latency.js';
import { interleave, quantile, spread } from './statistics.js';

const DAY_MS = 86_400_000;
const TIMES = 20;
const QUICK_TIMES = 5;
const WARM_UPS = 3;
const GOAL_MS = 150;
/** Limit for making the credentials of an encrypted stream, ms. */
const CREDENTIALS_MS = 200;

/** A kind of stream. */
interface Kind {
  readonly proxy: string;
  readonly connections: number;
}

/** When each step of a set-up ended, ms since the call. The client reports `ready`. */
interface Steps {
  readonly begun: number;
  readonly reserved: number;
  readonly verified: number;
  readonly ready: number;
  /** Duration of `down`. */
  readonly down: number;
}

interface SetUpResult extends Kind {
  /** All set-ups, in order. */
  readonly setupMs: readonly number[];
  readonly medianMs: number;
  readonly p95Ms: number;
  /** Medians of the steps: writing the journal, REQ and HELLO including proxy start, UPDATE and verifying. */
  readonly steps: { readonly beginMs: number; readonly reserveMs: number; readonly connectAndVerifyMs: number };
  readonly downMs: number;
}

/** The time of `stream up` on warm servers. */
export async function setupPart(bench: Bench): Promise<Part> {
  const proxies = bench.missing.haproxy === undefined ? ['relay', 'haproxy'] : ['relay'];
  const kinds = proxies.flatMap((proxy) => [1, 4].map((connections): Kind => ({ proxy, connections })));
  const clock = new Clock();
  await using facilities = await Facilities.start(bench, { onProgress: (event) => clock.hear(event) });
  await using producer = await EchoServer.start(4);
  const upAndDown = (kind: Kind): Promise<Steps> => setUpOnce(bench, facilities, producer.addresses, kind, clock);
  bench.say(`set-up: ${WARM_UPS} times each to warm up`);
  await interleave(kinds, WARM_UPS, upAndDown);
  const times = bench.quick ? QUICK_TIMES : TIMES;
  bench.say(`set-up: ${times} times each`);
  const samples = await interleave(kinds, times, upAndDown);
  const results = kinds.map((kind) => summarize(kind, samples.get(kind) ?? []));
  return {
    name: 'Set-up',
    method:
      'Two `s2cs` processes on this machine, which share its cores, and the client library in a third: `up` with both sides ' +
      `and verification, ${times} times after ${WARM_UPS} to warm up, kinds interleaved, one stream at a time.`,
    tables: [setupTable(results)],
    goals: [...results.filter(({ connections }) => connections === 1).map(goal), credentialsGoal(times)],
    notMeasured: bench.missing.haproxy === undefined ? [] : [`haproxy: ${bench.missing.haproxy}`],
    broken: [],
    data: { setups: results },
  };
}

const goal = ({ proxy, medianMs, setupMs }: SetUpResult): Goal => ({
  what: `set-up of 1 connection over ${proxy}, median`,
  bound: 'at most',
  wanted: GOAL_MS,
  got: medianMs,
  spread: spread(setupMs),
  unit: 'ms',
});

/** Encrypted streams also need credentials. The set-ups here are not encrypted. */
function credentialsGoal(times: number): Goal {
  const ms = Array.from({ length: times }, () => {
    const begun = performance.now();
    makeCredentials(new Date(Date.now() + DAY_MS));
    return performance.now() - begun;
  });
  const found = spread(ms);
  const what = 'credentials of one stream, median';
  return { what, bound: 'at most', wanted: CREDENTIALS_MS, got: found.median, spread: found, unit: 'ms' };
}

async function setUpOnce(
  { signal }: Bench,
  { client, sides }: Facilities,
  producers: readonly Address[],
  { proxy, connections }: Kind,
  clock: Clock,
): Promise<Steps> {
  clock.start();
  const producer = producers.slice(0, connections).map(formatAddress);
  const stream = await client.up({ ...sides, producer, connections, proxy, encryption: 'none' }, signal);
  const asked = performance.now();
  await stream.down();
  const down = performance.now() - asked;
  if (stream.setupMs === undefined) throw new Error('a new stream has no setupMs');
  return { ...clock.steps, ready: stream.setupMs, down };
}

/** Records the time of each progress event of one set-up after another. */
class Clock {
  #started = 0;
  #at = { begun: 0, reserved: 0, verified: 0 };

  start(): void {
    this.#started = performance.now();
  }

  hear({ kind }: ProgressEvent): void {
    const elapsed = performance.now() - this.#started;
    // The later event tells when both sides are reserved.
    this.#at = { ...this.#at, [kind === 'uid' ? 'begun' : kind]: elapsed };
  }

  get steps(): { readonly begun: number; readonly reserved: number; readonly verified: number } {
    return this.#at;
  }
}

function summarize(kind: Kind, samples: readonly Steps[]): SetUpResult {
  const setupMs = samples.map(({ ready }) => ready);
  const median = (pick: (steps: Steps) => number): number => quantile(samples.map(pick), 0.5);
  return {
    ...kind,
    setupMs,
    medianMs: quantile(setupMs, 0.5),
    p95Ms: quantile(setupMs, 0.95),
    steps: {
      beginMs: median(({ begun }) => begun),
      reserveMs: median(({ begun, reserved }) => reserved - begun),
      connectAndVerifyMs: median(({ reserved, verified }) => verified - reserved),
    },
    downMs: median(({ down }) => down),
  };
}

function setupTable(results: readonly SetUpResult[]): Table {
  const columns = ['median ms', 'p95 ms', 'journal', 'REQ and HELLO (proxies start)', 'UPDATE and verify', 'down ms'];
  return {
    title: 'From the call of `up` to ready',
    columns: ['proxy', 'connections', ...columns],
    rows: results.map(({ proxy, connections, medianMs, p95Ms, steps, downMs }) => [
      proxy,
      `${connections}`,
      ...[medianMs, p95Ms, steps.beginMs, steps.reserveMs, steps.connectAndVerifyMs, downMs].map((ms) => number(ms, 0)),
    ]),
  };
}
