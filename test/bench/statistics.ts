/** The median of several measurements, with the extremes. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** @param values At least one. */
export function spread(values: readonly number[]): Spread {
  return { median: quantile(values, 0.5), min: Math.min(...values), max: Math.max(...values) };
}

/**
 * The value below which `q` (0 to 1) of all values lie, with linear interpolation.
 * @param values At least one, in any order.
 */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const position = (sorted.length - 1) * q;
  const below = sorted[Math.floor(position)];
  const above = sorted[Math.ceil(position)];
  if (below === undefined || above === undefined) throw new Error('a quantile of an empty list');
  return below + (above - below) * (position - Math.floor(position));
}

/**
 * Quotients of two series, round by round. Disturbances of the machine affect both series, so the spread of the quotients
 * is narrower.
 */
export function ratios(values: readonly number[], baseline: readonly number[]): Spread {
  if (values.length !== baseline.length) throw new Error(`${values.length} rounds against ${baseline.length}`);
  return spread(values.map((value, i) => value / (baseline[i] ?? NaN)));
}

/**
 * Measures every contender once in each round. Every other round runs in reverse order, so that changes of the machine
 * affect all of them.
 * @returns The measurements of each contender in the order of the rounds.
 */
export async function interleave<Contender, Result>(
  contenders: readonly Contender[],
  rounds: number,
  measure: (contender: Contender, round: number) => Promise<Result>,
): Promise<ReadonlyMap<Contender, readonly Result[]>> {
  const results = new Map<Contender, Result[]>(contenders.map((contender) => [contender, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const contender of round % 2 === 0 ? contenders : [...contenders].reverse()) {
      results.get(contender)?.push(await measure(contender, round));
    }
  }
  return results;
}
