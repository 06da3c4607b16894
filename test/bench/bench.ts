import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import type { Spread } from './statistics.js';

/** What a measurement may need of the machine. */
export type Need = 'iperf3' | 'haproxy' | 'nginx' | 'stunnel' | 'docker' | 'namespaces';

/** What every measurement gets to know. */
export interface Bench {
  readonly rounds: number;
  /** Length of one throughput measurement. */
  readonly seconds: number;
  /** Few of everything that is counted: to see that it works, not for numbers. */
  readonly quick: boolean;
  /** A directory of this run, 0700, removed at the end. */
  readonly directory: string;
  /** Aborts when the run has to end early; everything made is taken down then. */
  readonly signal: AbortSignal;
  /** Why programs cannot be used here; those that can are absent. */
  readonly missing: Readonly<Partial<Record<Need, string>>>;
  /** Tells the progress. */
  say(text: string): void;
}

/** An empty directory below that of the run. */
export function newDirectory({ directory }: Bench, name: string): Promise<string> {
  return mkdtemp(join(directory, `${name}-`));
}

/** What is to be reached, with what came of it. */
export interface Goal {
  readonly what: string;
  /** `at least` or `at most` this. */
  readonly bound: 'at least' | 'at most' | 'more than';
  readonly wanted: number;
  readonly got: number;
  /** Between the rounds; a goal inside it is reached or missed by chance. Absent where there are no rounds. */
  readonly spread?: Spread;
  /** Empty for a ratio. */
  readonly unit: string;
}

/** @returns The goal was reached. */
export function isMet({ bound, wanted, got }: Goal): boolean {
  if (bound === 'at most') return got <= wanted;
  return bound === 'at least' ? got >= wanted : got > wanted;
}

/** A table of the report; cells are Markdown. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** What one part of the benchmark has found. */
export interface Part {
  readonly name: string;
  /** How it was measured, in a few sentences. */
  readonly method: string;
  readonly tables: readonly Table[];
  readonly goals: readonly Goal[];
  /** What could not be measured, and why. */
  readonly notMeasured: readonly string[];
  /** What must not be; not empty means that something is broken. */
  readonly broken: readonly string[];
  /** The numbers, unrounded, for `--json`. */
  readonly data: unknown;
}
