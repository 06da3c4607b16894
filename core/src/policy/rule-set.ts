import { formatAddress, type Address } from '../contracts/address.js';
import { type Identity, ownerOf } from '../contracts/authenticator.js';
import { NetworkTable } from '../contracts/network-table.js';
import { contains, isWithin, parseIp, specialOf, type Ip } from '../contracts/network.js';
import { demandsOf, ENCRYPTION, explain, factsOf, firstFailure, type Action, type Demands } from './demands.js';
import { matchesHost } from './host-pattern.js';
import { Refusal } from './refusal.js';
import type { RuleConfig } from './schema.js';

/** Items of a list, and rules, that an error shows. */
const SHOWN = 8;

/** A rule as decisions are made with it. */
export interface Rule {
  readonly name: string;
  readonly config: RuleConfig;
  /** Place in the file. */
  readonly order: number;
  readonly demands: Demands;
}

/** Rules put in order for decisions; never changes. A decision looks only at the rules that are about the caller. */
export class RuleSet {
  readonly #about = new Map<string, Rule[]>();
  readonly #networks: NetworkTable;

  constructor(configs: readonly RuleConfig[]) {
    this.#networks = new NetworkTable(configs.map(({ targets }) => targets?.networks ?? []));
    for (const [order, config] of configs.entries()) {
      const rule = { name: config.name ?? `rules.${order}`, config, order, demands: demandsOf(config) };
      for (const key of new Set(keysOfRule(config.who))) this.#add(key, rule);
    }
  }

  /**
   * The rules that allow an action, its targets aside; only the first one where it has no targets. Never none.
   * @param facts Of the action, where less is known than it says
   * @throws SCI_FORBIDDEN (as {@link Refusal})
   */
  allowing(identity: Identity, action: Action, facts = factsOf(action)): readonly Rule[] {
    const onlyFirst = !('targets' in action);
    const allowing: Rule[] = [];
    let furthest = -1;
    let closest: Rule | undefined;
    for (const rule of this.#rulesAbout(identity)) {
      const failed = firstFailure(rule.demands, facts);
      if (failed === -1) {
        if (onlyFirst) return [rule];
        allowing.push(rule);
      } else if (failed > furthest) {
        furthest = failed;
        closest = rule;
      }
    }
    if (allowing.length > 0) return allowing;
    if (!closest) {
      throw new Refusal(`No rule is about ${ownerOf(identity)}.`, {
        suggestion: 'Ask the operator of this facility for a rule.',
      });
    }
    const [what, instead] = explain(furthest, closest.config, action);
    const open = furthest === ENCRYPTION && action.kind === 'request' && action.stream.spec.encryption === 'none';
    throw new Refusal(`Rule ${closest.name} does not allow ${what}.`, {
      suggestion: `It allows ${instead}.`,
      rule: closest.name,
      code: open ? 'SCI_ENCRYPTION_REQUIRED' : 'SCI_FORBIDDEN',
    });
  }

  /**
   * The refusal of a rule that has nothing against a target but something against the stream, if there is one.
   * @param has Whether the rule allows the target
   * @param ip The target, unless it is a name: rules that have no network with it are not asked
   */
  againstStream(
    identity: Identity,
    action: Action,
    target: string,
    has: (rule: Rule) => boolean,
    ip?: Ip,
  ): Refusal | undefined {
    const facts = factsOf(action);
    const about = this.#rulesAbout(identity);
    for (const rule of ip ? this.withNetworkOf(ip, about) : about) {
      const failed = firstFailure(rule.demands, facts);
      if (failed < ENCRYPTION || !has(rule)) continue;
      const [what, instead] = explain(failed, rule.config, action);
      return new Refusal(`Rule ${rule.name} allows target ${target}, but not ${what}.`, {
        suggestion: `It allows ${instead}. What a stream has it has from its beginning: make one that fits.`,
        rule: rule.name,
      });
    }
    return undefined;
  }

  /** Those that have a network with this address among their targets. @param rules In the order of the file */
  withNetworkOf(ip: Ip, rules: readonly Rule[]): readonly Rule[] {
    const found: Rule[] = [];
    for (const order of this.#networks.rulesWith(ip)) {
      const rule = find(order, rules);
      if (rule && found.at(-1) !== rule) found.push(rule);
    }
    return found;
  }

  #add(key: string, rule: Rule): void {
    const list = this.#about.get(key);
    if (list) list.push(rule);
    else this.#about.set(key, [rule]);
  }

  #rulesAbout(identity: Identity): readonly Rule[] {
    let about: readonly Rule[] = [];
    for (const key of keysOfIdentity(identity)) {
      const list = this.#about.get(key);
      if (list) about = about.length === 0 ? list : merge(about, list);
    }
    return about;
  }
}

/** The rule at that place in the file. @param rules In the order of the file */
function find(order: number, rules: readonly Rule[]): Rule | undefined {
  let [first, end] = [0, rules.length];
  while (first < end) {
    const middle = (first + end) >>> 1;
    const rule = rules[middle];
    if (rule === undefined || rule.order === order) return rule;
    if (rule.order < order) first = middle + 1;
    else end = middle;
  }
  return undefined;
}

/** Both lists, each in the order of the file, as one; what is in both once. */
function merge(a: readonly Rule[], b: readonly Rule[]): readonly Rule[] {
  const merged: Rule[] = [];
  let [i, j] = [0, 0];
  for (;;) {
    const [left, right] = [a[i], b[j]];
    if (left === undefined) return merged.concat(b.slice(j));
    if (right === undefined) return merged.concat(a.slice(i));
    merged.push(left.order <= right.order ? left : right);
    if (left.order <= right.order) i += 1;
    if (right.order <= left.order) j += 1;
  }
}

/** Whether a target may be asked for by this name; its addresses are another question. */
export function allowsName({ config: { targets } }: Rule, { host, port }: Address): boolean {
  if (!targets || !allowsPort(targets.ports, port)) return false;
  return targets.names === undefined || targets.names.some((pattern) => matchesHost(pattern, host));
}

/** An address that is asked for. */
export interface AskedIp {
  /** Undefined for what no rule can allow, such as an address with a zone. */
  readonly ip: Ip | undefined;
  /** What `specialOf` says of it: asked once, not by every rule. */
  readonly special: ReturnType<typeof specialOf>;
}

/**
 * Whether a rule allows an address: one of its networks has it, or, for the address of an allowed name, it has no
 * networks. Special addresses are allowed only by a network that names them and nothing else.
 */
export function allowsAddress({ config: { targets } }: Rule, asked: AskedIp, port: number, named: boolean): boolean {
  const { ip, special } = asked;
  if (!ip || !targets || !allowsPort(targets.ports, port)) return false;
  if (targets.networks === undefined) return named && !special;
  for (const network of targets.networks) {
    if (contains(network, ip) && (!special || isWithin(network, special.networks))) return true;
  }
  return false;
}

/**
 * The refusal of a target.
 * @param address What its name means just now, which the operator alone is told; of a literal, that itself
 */
export function targetRefusal(rules: readonly Rule[], target: Address, address?: string): Refusal {
  const text = formatAddress(target);
  const [only] = rules.length === 1 ? rules : [];
  const which = only ? `rule ${only.name}` : 'any of the rules ' + someOf(rules, (_, { name }) => [name]);
  const special = address === undefined ? undefined : specialOf(parseIp(address) ?? { four: false, words: [] });
  const why = special ? `: it is ${special.what}, which a network of the rule has to name` : '';
  const hidden = address !== undefined && address !== target.host;
  const allowed = someOf(rules, ({ targets }) => [
    ...(targets?.networks ?? []).map((network) => network.text),
    ...(targets?.names ?? []),
  ]);
  const ports = someOf(rules, ({ targets }) => (targets?.ports ?? []).map(({ first, last }) => `${first}-${last}`));
  const message = hidden
    ? `Target ${text} has an address here that is not allowed by ${which}.`
    : `Target ${text} is not allowed by ${which}${why}.`;
  return new Refusal(message, {
    suggestion: `Allowed are ${allowed ? `targets ${allowed}` : 'no targets'}${ports && ` on ports ${ports}`}.`,
    rule: only?.name,
    reason: hidden ? `Target ${text}, which means ${address} here, is not allowed by ${which}${why}.` : undefined,
  });
}

/** What rules say, for an error: each once, and no more than anybody reads. */
function someOf(rules: readonly Rule[], of: (config: RuleConfig, rule: Rule) => readonly string[]): string {
  const texts = [...new Set(rules.slice(0, SHOWN).flatMap((rule) => of(rule.config, rule)))];
  const more = texts.length > SHOWN || (texts.length > 0 && rules.length > SHOWN);
  return `${texts.slice(0, SHOWN).join(', ')}${more ? ' and more' : ''}`;
}

const allowsPort = (ports: readonly { first: number; last: number }[] | undefined, port: number): boolean =>
  ports === undefined || ports.some(({ first, last }) => first <= port && port <= last);

const EVERYBODY = '*';
/** Different for different parts, whatever is in them. */
const key = (kind: string, first: string, second = ''): string => `${kind} ${first.length} ${first} ${second}`;

/** With issuers, each of the keys is that of one of them: a group of one issuer is not the group of that name of another. */
function keysOfRule({ identities = [], groups = [], issuers }: RuleConfig['who']): string[] {
  const named = identities.filter((identity) => identity !== EVERYBODY);
  const everybody = identities.length > named.length;
  if (!issuers) {
    const own = [...named.map((identity) => key('identity', identity)), ...groups.map((group) => key('group', group))];
    return everybody ? [EVERYBODY, ...own] : own;
  }
  const all = everybody || (identities.length === 0 && groups.length === 0);
  return issuers.flatMap((issuer) => [
    ...(all ? [key('issuer', issuer)] : []),
    ...named.map((identity) => key('identity', identity, issuer)),
    ...groups.map((group) => key('group', group, issuer)),
  ]);
}

function keysOfIdentity(identity: Identity): string[] {
  const { issuer, groups = [] } = identity;
  const members = groups.flatMap((group) => [key('group', group), key('group', group, issuer)]);
  const own = [key('identity', ownerOf(identity)), key('identity', ownerOf(identity), issuer)];
  return [EVERYBODY, ...own, key('issuer', issuer), ...members];
}
