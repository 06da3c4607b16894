/**
 * A small fuzzer guided by coverage: it keeps inputs that run new code, and changes them further. fast-check makes inputs
 * from what we know about a format; this fuzzer finds what only the code knows.
 */
import { Session } from 'node:inspector/promises';

/** A parser of input from strangers. */
export interface Target {
  readonly seeds: readonly Buffer[];
  /** Building blocks of inputs. */
  readonly words: readonly string[];
  /** URL pattern of the files whose coverage counts. */
  readonly code: RegExp;
  /** Accepts or rejects an input. Anything that it throws is a defect. */
  readonly take: (input: Buffer) => void;
}

/** The results. */
export interface Findings {
  readonly tried: number;
  /** Inputs that ran new code, without the seeds. */
  readonly kept: number;
  /** Characters of code that ran. */
  readonly covered: number;
  readonly defect?: { readonly input: Buffer; readonly error: unknown };
}

/** Reading the coverage takes about as long as this many inputs. */
const BATCH = 32;

/** Tries inputs until the time is over or one is a defect. @param seed The same seed tries the same inputs. */
export async function fuzz(target: Target, limits: { readonly ms: number; readonly seed: number }): Promise<Findings> {
  const end = performance.now() + limits.ms;
  const chance = chanceOf(limits.seed);
  const corpus = [...target.seeds];
  let tried = 0;
  const coverage = await Coverage.start(target.code);
  try {
    const defectIn = (inputs: readonly Buffer[]): Findings['defect'] => {
      for (const input of inputs) {
        tried += 1;
        try {
          target.take(input);
        } catch (error) {
          return { input, error };
        }
      }
      return undefined;
    };
    const found = (defect?: Findings['defect']): Findings => {
      const { covered } = coverage;
      return { tried, kept: corpus.length - target.seeds.length, covered, ...(defect && { defect }) };
    };
    for (let batch: readonly Buffer[] = corpus.slice(); performance.now() < end;) {
      const defect = defectIn(batch);
      if (defect) return found(defect);
      if ((await coverage.fresh()) > 0)
        corpus.push(...(await coverage.newIn(batch, target.take)).filter((one) => !corpus.includes(one)));
      batch = Array.from({ length: BATCH }, () => changed(corpus, target.words, chance));
    }
    return found();
  } finally {
    await coverage.stop();
  }
}

/** The characters of code that have run. */
class Coverage {
  readonly #session = new Session();
  /** By script. */
  #seen = new Map<string, Uint8Array>();
  #before = new Map<string, Uint8Array>();

  private constructor(private readonly code: RegExp) {}

  static async start(code: RegExp): Promise<Coverage> {
    const coverage = new Coverage(code);
    coverage.#session.connect();
    await coverage.#session.post('Profiler.enable');
    await coverage.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
    return coverage;
  }

  async stop(): Promise<void> {
    await this.#session.post('Profiler.stopPreciseCoverage');
    this.#session.disconnect();
  }

  get covered(): number {
    return [...this.#seen.values()].reduce((sum, script) => sum + script.reduce((a, b) => a + b, 0), 0);
  }

  /** How many characters ran for the first time since the last call. */
  async fresh(): Promise<number> {
    this.#before = new Map([...this.#seen].map(([url, script]) => [url, script.slice()]));
    const { result } = await this.#session.post('Profiler.takePreciseCoverage');
    let count = 0;
    for (const { url, functions } of result) {
      if (!this.code.test(url)) continue;
      const ranges = functions.flatMap((one) => one.ranges);
      const run = new Uint8Array(Math.max(...ranges.map(({ endOffset }) => endOffset)));
      // Inner ranges follow the outer ones.
      for (const range of ranges) run.fill(range.count > 0 ? 1 : 0, range.startOffset, range.endOffset);
      const old = this.#seen.get(url) ?? new Uint8Array();
      const all = old.length < run.length ? new Uint8Array(run.length) : old;
      if (all !== old) all.set(old);
      run.forEach((ran, at) => {
        if (ran === 0 || all[at] === 1) return;
        all[at] = 1;
        count += 1;
      });
      this.#seen.set(url, all);
    }
    return count;
  }

  /** The inputs of the last batch that ran new code. Runs each one separately, after forgetting the coverage of the batch. */
  async newIn(inputs: readonly Buffer[], take: (input: Buffer) => void): Promise<readonly Buffer[]> {
    this.#seen = this.#before;
    const found: Buffer[] = [];
    for (const input of inputs) {
      take(input);
      if ((await this.fresh()) > 0) found.push(input);
    }
    return found;
  }
}

/** An input of the corpus with a few changes. */
function changed(corpus: readonly Buffer[], words: readonly string[], chance: (below: number) => number): Buffer {
  const pick = <T>(list: readonly T[], otherwise: T): T => list[chance(list.length)] ?? otherwise;
  const nothing = Buffer.alloc(0);
  let bytes = pick(corpus, nothing);
  for (let times = chance(4); times >= 0; times -= 1) {
    const at = chance(bytes.length + 1);
    const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
    const ways = [
      () => [head, Buffer.of(chance(256)), tail.subarray(1)],
      () => [head, Buffer.of((tail[0] ?? 0) ^ (1 << chance(8))), tail.subarray(1)],
      () => [head, Buffer.of(chance(256)), tail],
      () => [head, tail.subarray(1 + chance(8))],
      () => [head, Buffer.from(pick(words, '')), tail],
      () => [head, pick(corpus, nothing).subarray(chance(8))],
      () => [head, tail.subarray(0, chance(16)), tail],
    ];
    bytes = Buffer.concat(pick(ways, () => [bytes])());
  }
  return bytes;
}

/** Numbers from 0 to below a limit, by the generator mulberry32. */
function chanceOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}
