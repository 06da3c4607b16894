import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { formatAddress, type Address } from '../address.js';
import type { Identity } from '../authenticator.js';
import { OwnerPolicy } from '../auth/owner-policy.js';
import { SciStreamError } from '../errors.js';
import type { Action, Granted, Policy } from '../policy.js';
import type { StreamRecord } from '../stream-store.js';
import { within } from '../wait.js';
import { factsOf } from './demands.js';
import { formatNetwork, parseIp, specialOf } from './network.js';
import { allowsAddress, allowsName, RuleSet, targetRefusal, type AskedIp, type Rule } from './rule-set.js';
import { readRules } from './schema.js';

/** A target that a rule allows, as an IP literal. */
interface Judged {
  readonly address: Address;
  readonly rule: Rule;
}

const RESOLVE_TIMEOUT_MS = 5_000;

/** All addresses of a host name, the preferred one first. Rejects when there are none. */
export type Resolver = (host: string) => Promise<readonly string[]>;

/** As the system resolves names. */
export const systemResolver: Resolver = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address);

/** The proxy and runtime that a stream will get; empty names stand for the defaults of its gateway. */
export type Placing = (
  stream: Pick<StreamRecord, 'gateway' | 'proxy' | 'runtime'>,
) => Promise<Pick<StreamRecord, 'proxy' | 'runtime'>>;

/**
 * The rules of a file, and on top of them that only the owner and admins see, update or release a stream. What no rule
 * allows is refused. Admins may view and release whatever the rules say, so that somebody always can end a stream, and they alone drain gateways.
 *
 * The names of targets are resolved here, once: what is judged is handed on as IP literals, so that nobody on the way to
 * the proxy can look a name up again and get something else.
 */
export class RulesPolicy implements Policy {
  /** Whether streams may do without encryption is what rules say. */
  readonly #owner = new OwnerPolicy('optional');
  #rules: RuleSet | undefined;

  constructor(
    private readonly file: string,
    private readonly placing: Placing,
    private readonly resolver: Resolver = systemResolver,
  ) {}

  async load(): Promise<void> {
    this.#rules = new RuleSet(await readRules(this.file));
  }

  async check(identity: Identity, action: Action): Promise<Granted> {
    await this.#owner.check(identity, action);
    if (!this.#rules) throw new SciStreamError('SCI_BUG', 'The policy is asked before it was read.');
    if (action.kind === 'drain') return {};
    if (identity.admin && (action.kind === 'view' || action.kind === 'list' || action.kind === 'release')) return {};
    const rules = this.#rules;
    if (action.kind === 'request') {
      const placed = await this.placing(action.stream).catch((error: unknown) => {
        // How the gateway does is not the business of those who are refused whatever it says.
        rules.allowing(identity, action, { ...factsOf(action), proxy: undefined, runtime: undefined });
        throw error;
      });
      const [rule] = rules.allowing(identity, { ...action, stream: { ...action.stream, ...placed } });
      const most = action.lifetimeMs === 0 ? rule?.config.limits.lifetime : undefined;
      const sources = rule?.config.sources?.map(formatNetwork);
      return {
        ...named(rule),
        ...placed,
        ...(most === undefined ? {} : { lifetimeMs: most }),
        ...(sources ? { sources } : {}),
      };
    }
    const allowing = rules.allowing(identity, action);
    if (action.kind !== 'update' && action.kind !== 'probe') return named(allowing[0]);
    const found = await Promise.all(this.#targets(rules, allowing, action.targets));
    const names = [...new Set(found.map(({ rule }) => rule.name))];
    return { rule: names.join(','), targets: found.map(({ address }) => address) };
  }

  /** Each distinct host is resolved once, so that one name means one thing in one call. */
  #targets(set: RuleSet, rules: readonly Rule[], targets: readonly Address[]): Promise<Judged>[] {
    const known = new Map<string, Promise<readonly string[]>>();
    return targets.map(async (target) =>
      isIP(target.host) === 0 ? await this.#named(rules, target, known) : judgeLiteral(set, rules, target),
    );
  }

  async #named(
    rules: readonly Rule[],
    target: Address,
    known: Map<string, Promise<readonly string[]>>,
  ): Promise<Judged> {
    const { host, port } = target;
    const asked = rules.filter((rule) => allowsName(rule, target));
    if (asked.length === 0) throw targetRefusal(rules, formatAddress(target));
    const addresses = await (known.get(host) ?? this.#resolve(host, port, known));
    const ips = addresses.map((address) => ({ address, ...askedIp(address) }));
    const rule = asked.find((candidate) => ips.every((ip) => allowsAddress(candidate, ip, port, true)));
    const [first] = addresses;
    if (rule && first !== undefined) return { address: { host: first, port }, rule };
    const refused = ips.find((ip) => !asked.some((candidate) => allowsAddress(candidate, ip, port, true))) ?? ips[0];
    throw targetRefusal(asked, formatAddress(target), refused?.address);
  }

  #resolve(host: string, port: number, known: Map<string, Promise<readonly string[]>>): Promise<readonly string[]> {
    const fail = (cause?: unknown): SciStreamError =>
      new SciStreamError('SCI_TARGET_UNRESOLVED', `Host ${host} of target ${host}:${port} cannot be resolved here.`, {
        cause,
        suggestions: ['Check the name, or give an IP address that the gateway can reach.'],
      });
    const found = within(this.resolver(host), RESOLVE_TIMEOUT_MS, fail).then(
      (addresses) => {
        if (addresses.length === 0) throw fail();
        return addresses;
      },
      (error: unknown) => {
        throw SciStreamError.is(error) ? error : fail(error);
      },
    );
    known.set(host, found);
    return found;
  }
}

/** A target that is an IP literal, which rules with many networks are not searched for one by one. */
function judgeLiteral(set: RuleSet, rules: readonly Rule[], { host, port }: Address): Judged {
  const asked = askedIp(host);
  const near = asked.ip ? set.withNetworkOf(asked.ip, rules) : [];
  const rule = near.find((candidate) => allowsAddress(candidate, asked, port, false));
  if (rule) return { address: { host, port }, rule };
  throw targetRefusal(rules, formatAddress({ host, port }), host);
}

function askedIp(address: string): AskedIp {
  const ip = parseIp(address);
  return { ip, special: ip && specialOf(ip) };
}

const named = (rule: Rule | undefined): Granted => (rule ? { rule: rule.name } : {});
