import type { Identity } from '../contracts/authenticator.js';
import { SciStreamError } from '../contracts/errors.js';
import { formatNetwork } from '../contracts/network.js';
import type { Action, Granted, Policy } from '../contracts/policy.js';
import type { StreamRecord } from '../contracts/stream.js';
import { factsOf } from './demands.js';
import { NameLookups } from './name-lookups.js';
import { OwnerPolicy } from './owner-policy.js';
import { RuleSet, type Rule } from './rule-set.js';
import { readRules } from './schema.js';
import { TargetJudge } from './target-judge.js';

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
    private readonly names = new NameLookups(),
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
      const most = action.stream.spec.lifetimeMs === 0 ? rule?.config.limits.lifetime : undefined;
      const sources = rule?.config.sources?.map(formatNetwork);
      return {
        ...named(rule),
        ...placed,
        ...(most === undefined ? {} : { lifetimeMs: most }),
        ...(sources ? { sources } : {}),
      };
    }
    if (action.kind !== 'update' && action.kind !== 'probe') return named(rules.allowing(identity, action)[0]);
    const found = await new TargetJudge(rules, identity, action).judge(this.names);
    const deciding = [...new Set(found.map(({ rule }) => rule.name))];
    return { rule: deciding.join(','), targets: found.map(({ address }) => address) };
  }
}

const named = (rule: Rule | undefined): Granted => (rule ? { rule: rule.name } : {});
