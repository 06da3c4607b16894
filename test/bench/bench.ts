import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import type { Spread } from './statistics.js';

/** What a measurement may need from the machine. */
export type Need = 'iperf3' | 'haproxy' | 'nginx' | 'stunnel' | 'docker' | 'namespaces';

/** The context of every measurement. */
export interface Bench {
  readonly rounds: number;
  /** Length of one throughput measurement. */
  readonly seconds: number;
  /** Small numbers of everything: to check that the benchmark works. */
  readonly quick: boolean;
  /** A directory of this run, 0700, removed at the end. */
  readonly directory: string;
  /** Aborts when the run must end early. The measurement then removes what it made. */
  readonly signal: AbortSignal;
  /** Why programs cannot be used here. Usable programs are absent. */
  readonly missing: Readonly<Partial<Record<Need, string>>>;
  /** Reports progress. */
  say(text: string): void;
}

/** Creates an empty directory below that of the run. */
export function newDirectory({ directory }: Bench, name: string): Promise<string> {
  return mkdtemp(join(directory, `${name}-`));
}

/** A goal and the result. */
export interface Goal {
  readonly what: string;
  /** `at least` or `at most` this. */
  readonly bound: 'at least' | 'at most' | 'more than';
  readonly wanted: number;
  readonly got: number;
  /** Spread between rounds. A result within it meets or misses the goal by chance. Absent if there are no rounds. */
  readonly spread?: Spread;
  /** Empty for a ratio. */
  readonly unit: string;
}

/** @returns Whether the goal was met. */
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

/** The results of one part of the benchmark. */
export interface Part {
  readonly name: string;
  /** How it was measured, in a few sentences. */
  readonly method: string;
  readonly tables: readonly Table[];
  readonly goals: readonly Goal[];
  /** What could not be measured, and why. */
  readonly notMeasured: readonly string[];
  /** Defects that were found. */
  readonly broken: readonly string[];
  /** The unrounded numbers, for `--json`. */
  readonly data: unknown;
}
