/** What an honest user does during a siege, and what it costs her. */
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '@scistream/core';
import { parseAddress } from '@scistream/core/internal';
import { Application, establish, megabytes, through, type Established } from '../faults/traffic.js';
import { quantile } from '../bench/statistics.js';
import { FACILITIES, type Facility, type Ground, PRODUCERS } from './ground.js';

/** Time between the end of a set-up and the next one, ms. */
const SET_UP_PAUSE_MS = 3_000;
/** The same between two calls at a facility, ms. */
const CALL_PAUSE_MS = 50;

interface UpResult {
  readonly uid: string;
  readonly connect: readonly string[];
}

/** Results of one period. */
export interface Experience {
  /** ms, sorted. */
  readonly calls: readonly number[];
  readonly setUps: readonly number[];
  /** What failed. */
  readonly failures: readonly string[];
}

/** Alice: streams that carry data all the time, set-ups one after another, and a call every 50 ms at both facilities. */
export class Alice implements AsyncDisposable {
  private constructor(
    private readonly ground: Ground,
    private readonly application: Application,
    private readonly flows: readonly (Established & { readonly name: string })[],
  ) {}

  static async start(ground: Ground): Promise<Alice> {
    const application = await Application.start(PRODUCERS);
    const flows = [];
    for (const proxy of ['relay', 'haproxy', 'nginx']) {
      const name = `steady-${proxy}`;
      const { connect } = await up(ground, application, name, '--proxy', proxy);
      flows.push({ ...(await establish(parseAddress(connect[0] ?? ''))), name });
    }
    return new Alice(ground, application, flows);
  }

  /** Works until the signal aborts. */
  async work(signal: AbortSignal): Promise<Experience> {
    const failures: string[] = [];
    const until = async (step: () => Promise<void>, pauseMs: number): Promise<void> => {
      while (!signal.aborted) {
        await step().catch((error: unknown) => failures.push(messageOf(error)));
        await pause(pauseMs, undefined, { signal }).catch(() => undefined);
      }
    };
    const calls: number[] = [];
    const setUps: number[] = [];
    let count = 0;
    const setUp = async (): Promise<void> => {
      const begun = performance.now();
      const { uid, connect } = await up(this.ground, this.application, `short-${(count += 1)}`);
      setUps.push(performance.now() - begun);
      await through(parseAddress(connect[0] ?? ''));
      await this.ground.scistream('stream', 'down', uid);
    };
    const callers = await Promise.all(FACILITIES.map((facility) => this.#caller(facility, calls)));
    await Promise.all([until(setUp, SET_UP_PAUSE_MS), ...callers.map((call) => until(call, CALL_PAUSE_MS))]);
    const sorted = (values: number[]): number[] => values.sort((a, b) => a - b);
    return { calls: sorted(calls), setUps: sorted(setUps), failures };
  }

  async #caller(facility: Facility, calls: number[]): Promise<() => Promise<void>> {
    const { streams } = await this.ground.peer(facility, 'alice');
    return async () => {
      const begun = performance.now();
      await streams.list({}, { timeoutMs: 30_000 });
      calls.push(performance.now() - begun);
    };
  }

  /** Ends the streams. @returns What each has carried, or how it failed. */
  async finish(): Promise<readonly string[]> {
    const results = [];
    for (const flow of this.flows) {
      const result = await flow.finish().then(
        (bytes) => `0 of ${megabytes(bytes)} lost`,
        (error: unknown) => `FAILED: ${messageOf(error)}`,
      );
      results.push(`${flow.name}: ${result}`);
      await this.ground.scistream('stream', 'down', flow.name);
    }
    return results;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.application[Symbol.asyncDispose]();
  }
}

async function up(
  ground: Ground,
  application: Application,
  name: string,
  ...more: readonly string[]
): Promise<UpResult> {
  const sides = ['--from', 'aps', '--to', 'alcf', '--producer', application.address];
  return (await ground.scistream('stream', 'up', ...sides, '--name', name, ...more)) as UpResult;
}

/** `p50 12 ms, p99 40 ms (1234)` */
export const summary = (times: readonly number[]): string =>
  times.length === 0
    ? 'none'
    : `p50 ${quantile(times, 0.5).toFixed(0)} ms, p99 ${quantile(times, 0.99).toFixed(0)} ms (${times.length})`;
