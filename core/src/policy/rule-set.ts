import type { Identity } from '../authenticator.js';
import { ownerOf } from '../auth/owner-policy.js';
import type { Action as AnyAction } from '../policy.js';
import type { Address } from '../address.js';
import { SciStreamError } from '../errors.js';
import { formatRate } from '../units.js';
import { matchesHost } from './host-pattern.js';
import { contains, isWithin, parseIp, specialOf, type Ip, type Network } from './network.js';
import { type RULED_ACTIONS, type RuleConfig } from './schema.js';

/** What rules are about: something with a stream. */
type Action = Exclude<AnyAction, { kind: 'drain' }>;

/** A rule as decisions are made with it. */
export interface Rule {
  readonly name: string;
  readonly config: RuleConfig;
  /** Place in the file. */
  readonly order: number;
  /** Only those that this rule can fail, by their place in {@link CHECKS}. */
  readonly checks: readonly number[];
}

interface Check {
  /** Whether a rule says anything about it. */
  readonly applies: (rule: RuleConfig) => boolean;
  /** Whether the rule has nothing against it. */
  readonly passes: (rule: RuleConfig, action: Action) => boolean;
  /** What the rule does not allow, and what it does. */
  readonly explain: (rule: RuleConfig, action: Action) => readonly [string, string];
}

const among = <T>(list: readonly T[] | undefined, value: T): boolean => list === undefined || list.includes(value);

/** A check of something that a rule lists; without a list the rule allows all. */
const listed = (
  key: 'roles' | 'gateways' | 'encryption' | 'proxies' | 'runtimes',
  of: 'role' | 'gateway' | 'encryption' | 'proxy' | 'runtime',
): Check => ({
  applies: (rule) => rule[key] !== undefined,
  passes: (rule, { stream }) => among<string>(rule[key], stream[of]),
  explain: (rule, { stream }) => [`${of} ${stream[of]}`, `${key}: ${rule[key]?.join(', ') ?? 'all'}`],
});

/** A check of a number against a limit; other actions than `request` cost nothing new. */
const limited = (
  key: keyof RuleConfig['limits'],
  amount: (action: Extract<Action, { kind: 'request' }>) => number,
  text: (value: number) => string,
  what: string,
): Check => ({
  applies: ({ limits }) => limits[key] !== undefined,
  passes: ({ limits }, action) => action.kind !== 'request' || amount(action) <= (limits[key] ?? Infinity),
  explain: ({ limits }, action) => [
    `${action.kind === 'request' && Number.isFinite(amount(action)) ? text(amount(action)) : 'no limit of'} ${what}`,
    `${key}: at most ${text(limits[key] ?? Infinity)}`,
  ],
});

/** A stream that asks for no rate may take all there is. */
const rateOf = ({ bitsPerSecond }: { readonly bitsPerSecond: number }): number => bitsPerSecond || Infinity;
const hours = (ms: number): string => `${Number((ms / 3_600_000).toPrecision(3))} h`;

/** In the order in which a refusal is explained: the rule that got furthest says no. */
const CHECKS: readonly Check[] = [
  {
    applies: ({ actions }) => actions !== undefined,
    passes: ({ actions }, { kind }) => among(actions, ruled(kind)),
    explain: ({ actions }, { kind }) => [`action ${ruled(kind)}`, `actions: ${actions?.join(', ') ?? 'all'}`],
  },
  listed('roles', 'role'),
  listed('gateways', 'gateway'),
  listed('proxies', 'proxy'),
  listed('runtimes', 'runtime'),
  listed('encryption', 'encryption'),
  limited('connections', ({ connections }) => connections, String, 'connections'),
  limited('bandwidth', ({ stream }) => rateOf(stream), formatRate, 'bandwidth'),
  limited('lifetime', ({ lifetimeMs }) => lifetimeMs, hours, 'lifetime'),
  limited('streams', ({ usage }) => usage.streams + 1, String, 'streams at once'),
  limited(
    'totalBandwidth',
    ({ stream, usage }) => rateOf(stream) + usage.bitsPerSecond,
    formatRate,
    'bandwidth of all streams together',
  ),
];

/** Rules put in order for decisions; never changes. A decision looks only at the rules that are about the caller. */
export class RuleSet {
  readonly #about = new Map<string, Rule[]>();

  constructor(configs: readonly RuleConfig[]) {
    for (const [order, config] of configs.entries()) {
      const checks = [...CHECKS.keys()].filter((i) => CHECKS[i]?.applies(config));
      const rule = { name: config.name ?? `rules.${order}`, config, order, checks };
      for (const key of new Set(keysOfRule(config.who))) this.#add(key, rule);
    }
  }

  /**
   * The rules that allow an action, its targets aside; only the first one where it has no targets. Never none.
   * @throws SCI_FORBIDDEN (as {@link Refusal})
   */
  allowing(identity: Identity, action: Action): readonly Rule[] {
    const about = this.#rulesAbout(identity);
    const allowing: Rule[] = [];
    let furthest = -1;
    let closest: Rule | undefined;
    for (const rule of about) {
      const failed = firstFailure(rule, action);
      if (failed === -1 && !('targets' in action)) return [rule];
      if (failed === -1) allowing.push(rule);
      else if (failed > furthest) [furthest, closest] = [failed, rule];
    }
    if (allowing.length > 0) return allowing;
    const [what, instead] = closest ? (CHECKS[furthest]?.explain(closest.config, action) ?? []) : [];
    if (!closest || what === undefined || instead === undefined) {
      throw new Refusal(`No rule is about ${ownerOf(identity)}.`, 'Ask the operator of this facility for a rule.');
    }
    throw new Refusal(`Rule ${closest.name} does not allow ${what}.`, `It allows ${instead}.`, closest.name);
  }

  #add(key: string, rule: Rule): void {
    const list = this.#about.get(key);
    if (list) list.push(rule);
    else this.#about.set(key, [rule]);
  }

  #rulesAbout(identity: Identity): readonly Rule[] {
    const lists = keysOfIdentity(identity).flatMap((key) => {
      const list = this.#about.get(key);
      return list ? [list] : [];
    });
    if (lists.length <= 1) return lists[0] ?? [];
    return [...new Set(lists.flat())].sort((a, b) => a.order - b.order);
  }
}

/** Which check the rule fails first; -1 when none. */
function firstFailure({ checks, config }: Rule, action: Action): number {
  for (const i of checks) if (CHECKS[i]?.passes(config, action) === false) return i;
  return -1;
}

/** Why a policy refuses. */
export class Refusal extends SciStreamError {
  constructor(
    message: string,
    suggestion: string,
    /** Which rule said no. */
    readonly rule?: string,
  ) {
    super('SCI_FORBIDDEN', message, { suggestions: [suggestion] });
  }
}

/** Whether a target may be asked for by this name; its addresses are another question. */
export function allowsName({ config: { targets } }: Rule, { host, port }: Address): boolean {
  if (!targets || !allowsPort(targets.ports, port)) return false;
  return targets.names === undefined || targets.names.some((pattern) => matchesHost(pattern, host));
}

/**
 * Whether a rule allows an address: one of its networks has it, or, for the address of an allowed name, it has no
 * networks. Special addresses are allowed only by a network that names them and nothing else.
 */
export function allowsAddress({ config: { targets } }: Rule, ip: Ip, port: number, named: boolean): boolean {
  if (!targets || !allowsPort(targets.ports, port)) return false;
  if (targets.networks === undefined) return named && !specialOf(ip);
  const mayHave = (network: Network): boolean => {
    if (!contains(network, ip)) return false;
    const special = specialOf(ip);
    return !special || isWithin(network, special.networks);
  };
  return targets.networks.some(mayHave);
}

/** The refusal of a target. @param address What its name means just now */
export function targetRefusal(rules: readonly Rule[], text: string, address?: string): Refusal {
  const special = address === undefined ? undefined : specialOf(parseIp(address) ?? { four: false, words: [] });
  const means = address === undefined || text.includes(address) ? '' : `, which means ${address} here,`;
  const why = special ? `: it is ${special.what}, which a network of the rule has to name` : '';
  const names = rules.map(({ name }) => name).join(', ');
  const allowed = rules.flatMap(({ config: { targets } }) => [
    ...(targets?.networks?.map((network) => network.text) ?? []),
    ...(targets?.names ?? []),
  ]);
  const ports = rules.flatMap(({ config: { targets } }) => targets?.ports ?? []);
  const range = ({ first, last }: { first: number; last: number }): string => `${first}-${last}`;
  const instead = allowed.length === 0 ? 'no targets' : `targets ${shorten([...new Set(allowed)])}`;
  const suffix = ports.length === 0 ? '' : ` on ports ${shorten(ports.map(range))}`;
  const [only] = rules.length === 1 ? rules : [];
  return new Refusal(
    `Target ${text}${means} is not allowed by ${only ? 'rule' : 'any of the rules'} ${shorten(names.split(', '))}${why}.`,
    `Allowed are ${instead}${suffix}.`,
    only?.name,
  );
}

const shorten = (list: readonly string[]): string =>
  list.length > 8 ? `${list.slice(0, 8).join(', ')} and ${list.length - 8} more` : list.join(', ');

const allowsPort = (ports: readonly { first: number; last: number }[] | undefined, port: number): boolean =>
  ports === undefined || ports.some(({ first, last }) => first <= port && port <= last);

function ruled(kind: Action['kind']): (typeof RULED_ACTIONS)[number] {
  if (kind === 'list') return 'view';
  return kind === 'probe' ? 'update' : kind;
}

const EVERYBODY = '*';
const key = (...parts: readonly string[]): string => JSON.stringify(parts);

function keysOfRule({ identities = [], groups, issuers }: RuleConfig['who']): string[] {
  const own = identities.map((identity) => (identity === '*' ? EVERYBODY : key('identity', identity)));
  if (!groups) return [...own, ...(issuers ?? []).map((issuer) => key('issuer', issuer))];
  // A group of one issuer is not the group of the same name of another.
  const members = groups.flatMap((group) =>
    issuers ? issuers.map((issuer) => key('group', group, issuer)) : [key('group', group)],
  );
  return [...own, ...members];
}

function keysOfIdentity(identity: Identity): string[] {
  const { issuer, groups = [] } = identity;
  const members = groups.flatMap((group) => [key('group', group), key('group', group, issuer)]);
  return [EVERYBODY, key('identity', ownerOf(identity)), key('issuer', issuer), ...members];
}
