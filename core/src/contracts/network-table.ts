import { contains, type Ip, type Network } from './network.js';

/** Finds the rules whose networks contain an address: in a few microseconds for 1000 rules. */
export class NetworkTable {
  /** IPv4 entries in the order of the rules, three numbers each: network, mask, index of the rule. */
  readonly #four: Int32Array;
  readonly #six: readonly (readonly [network: Network, rule: number])[];

  /** @param rules The networks of each rule, by index. */
  constructor(rules: readonly (readonly Network[])[]) {
    const all = rules.flatMap((networks, rule) => networks.map((network) => [network, rule] as const));
    const four = all.filter(([{ four }]) => four);
    this.#four = Int32Array.from(four.flatMap(([{ words, masks }, rule]) => [words[3] ?? 0, masks[3] ?? 0, rule]));
    this.#six = all.filter(([{ four }]) => !four);
  }

  /** Returns the indexes of the rules, ascending. A rule appears once for each of its networks that contains `ip`. */
  rulesWith(ip: Ip): readonly number[] {
    if (!ip.four) return this.#six.flatMap(([network, rule]) => (contains(network, ip) ? [rule] : []));
    const found: number[] = [];
    const table = this.#four;
    const word = (ip.words[3] ?? 0) | 0;
    for (let i = 0; i < table.length; i += 3) {
      if ((word & (table[i + 1] ?? 0)) === table[i]) found.push(table[i + 2] ?? 0);
    }
    return found;
  }
}
