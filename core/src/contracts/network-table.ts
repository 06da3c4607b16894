import { contains, type Ip, type Network } from './network.js';

/** The networks of many rules, laid out so that asking which of them contain an address takes a few microseconds. */
export class NetworkTable {
  /** IPv4: network, mask and rule, three numbers each, in the order of the rules. */
  readonly #four: Int32Array;
  readonly #six: readonly (readonly [network: Network, rule: number])[];

  /** @param rules The networks of each rule. */
  constructor(rules: readonly (readonly Network[])[]) {
    const all = rules.flatMap((networks, rule) => networks.map((network) => [network, rule] as const));
    const four = all.filter(([{ four }]) => four);
    this.#four = Int32Array.from(four.flatMap(([{ words, masks }, rule]) => [words[3] ?? 0, masks[3] ?? 0, rule]));
    this.#six = all.filter(([{ four }]) => !four);
  }

  /** @returns places of the rules, ascending; one with several such networks more than once */
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
