import type { Address } from '@scistream/core';
import type { Bench, Table } from './bench.js';
import type { Forwarder } from './forwarders.js';
import { receive } from './iperf.js';
import { factor, number, range } from './format.js';
import { interleave, ratios, spread, type Spread } from './statistics.js';

const GIGA = 1e9;

/** Number of connections and listeners. */
export interface Load {
  readonly name: string;
  /** One iperf3 for each. */
  readonly listeners: number;
  /** Of each iperf3. */
  readonly connections: number;
}

export const ONE: Load = { name: '1 connection', listeners: 1, connections: 1 };
export const FOUR: Load = { name: '4 connections on 4 listeners', listeners: 4, connections: 1 };
export const FOUR_ON_ONE: Load = { name: '4 connections on 1 listener', listeners: 1, connections: 4 };

/** The result of one forwarder under one load. */
export interface Throughput {
  readonly forwarder: string;
  readonly load: string;
  readonly bitsPerSecond: Spread;
  /** CPU time of the proxies' processes per 10^9 bytes; null without a proxy. */
  readonly cpuSecondsPerGigabyte: Spread | null;
  /** Ratios to each baseline, by its name, per round. */
  readonly ratios: Readonly<Record<string, Spread>>;
  /** Every round, in order. */
  readonly rounds: readonly number[];
}

/** What is compared. */
export interface Contest {
  readonly contenders: readonly Forwarder[];
  /** Some of the contenders. */
  readonly baselines: readonly Forwarder[];
  readonly producers: readonly Address[];
  /** Command that runs the consumer's iperf3 elsewhere. */
  readonly consumer?: readonly string[];
}

interface Sample {
  readonly bitsPerSecond: number;
  readonly cpuSecondsPerGigabyte: number;
}

/** Measures all contenders under one load, round by round. */
export async function measureThroughput(
  bench: Bench,
  { contenders, baselines, producers, consumer }: Contest,
  load: Load,
): Promise<readonly Throughput[]> {
  const samples = await interleave(contenders, bench.rounds, async (forwarder, round): Promise<Sample> => {
    bench.say(`${load.name}, round ${round + 1} of ${bench.rounds}: ${forwarder.name}`);
    await using running = await forwarder.start(producers.slice(0, load.listeners));
    const before = running.cpuSeconds();
    const { bytes, bitsPerSecond } = await receive(bench, running.entries, load.connections, consumer);
    return { bitsPerSecond, cpuSecondsPerGigabyte: ((running.cpuSeconds() - before) / bytes) * GIGA };
  });
  const ratesOf = (forwarder: Forwarder): readonly number[] =>
    (samples.get(forwarder) ?? []).map(({ bitsPerSecond }) => bitsPerSecond);
  return contenders.map((forwarder) => {
    const rounds = ratesOf(forwarder);
    const cpu = (samples.get(forwarder) ?? []).map(({ cpuSecondsPerGigabyte }) => cpuSecondsPerGigabyte);
    const others = baselines.filter((baseline) => baseline !== forwarder);
    return {
      forwarder: forwarder.name,
      load: load.name,
      bitsPerSecond: spread(rounds),
      cpuSecondsPerGigabyte: Math.max(...cpu) > 0 ? spread(cpu) : null,
      ratios: Object.fromEntries(others.map((baseline) => [baseline.name, ratios(rounds, ratesOf(baseline))])),
      rounds,
    };
  });
}

/** The ratio of one forwarder to one baseline, for a goal. */
export function ratioOf(
  results: readonly Throughput[],
  load: Load,
  forwarder: string,
  baseline: string,
): { readonly got: number; readonly spread: Spread } {
  const found = results.find((result) => result.load === load.name && result.forwarder === forwarder);
  const ratio = found?.ratios[baseline];
  if (!ratio) throw new Error(`${forwarder} was not compared with ${baseline}`);
  return { got: ratio.median, spread: ratio };
}

/** One line for each forwarder and load. */
export function throughputTable(title: string, results: readonly Throughput[]): Table {
  const baselines = [...new Set(results.flatMap((result) => Object.keys(result.ratios)))];
  return {
    title,
    columns: ['load', 'way', 'Gb/s', ...baselines.map((name) => `× ${name}`), 'CPU s/GB'],
    rows: results.map(({ load, forwarder, bitsPerSecond, ratios: against, cpuSecondsPerGigabyte }) => [
      load,
      forwarder,
      range(bitsPerSecond, (value) => number(value / GIGA, 1)),
      ...baselines.map((name) => (against[name] ? range(against[name], factor) : '')),
      cpuSecondsPerGigabyte ? range(cpuSecondsPerGigabyte, (value) => number(value, 2)) : '',
    ]),
  };
}
