import { isIP } from 'node:net';
import { formatAddress, type Address } from '../contracts/address.js';
import type { Identity } from '../contracts/authenticator.js';
import { parseIp, specialOf, type Ip } from '../contracts/network.js';
import type { NameLookups, Targeting } from './name-lookups.js';
import type { Refusal } from './refusal.js';
import { allowsAddress, allowsName, targetRefusal, type AskedIp, type Rule, type RuleSet } from './rule-set.js';

/** A target that a rule allows, as an IP literal. */
export interface Judged {
  readonly address: Address;
  readonly rule: Rule;
}

/** What is left to decide once it is known what names mean. */
type Open = (known: ReadonlyMap<string, readonly string[]>) => Judged;

/** Decides about the targets of one call: each needs a rule that has nothing against it, and nothing against the stream. */
export class TargetJudge {
  readonly #allowing: readonly Rule[];

  /** @throws SCI_FORBIDDEN when no rule allows it, whatever the targets are */
  constructor(
    private readonly rules: RuleSet,
    private readonly identity: Identity,
    private readonly action: Targeting,
  ) {
    this.#allowing = rules.allowing(identity, action);
  }

  /** @returns one for each target @throws SCI_FORBIDDEN, SCI_TARGET_UNRESOLVED, SCI_TARGETS_INVALID */
  async judge(names: NameLookups): Promise<readonly Judged[]> {
    // What can be said without looking names up comes first: a name that no rule allows nobody looks up.
    const open = this.action.targets.map((target) =>
      isIP(target.host) === 0 ? this.#name(target) : this.#literal(target),
    );
    const known = await names.lookUp(this.identity, this.action);
    return open.map((decide) => decide(known));
  }

  /** Rules with many networks are not searched for one by one. */
  #literal(target: Address): Open {
    const { host, port } = target;
    const asked = askedIp(host);
    const allows = (rule: Rule): boolean => allowsAddress(rule, asked, port, false);
    const near = asked.ip ? this.rules.withNetworkOf(asked.ip, this.#allowing) : [];
    const rule = near.find(allows);
    if (!rule) throw this.#againstStream(target, allows, asked.ip) ?? targetRefusal(this.#allowing, target, host);
    const judged = { address: target, rule };
    return () => judged;
  }

  #name(target: Address): Open {
    const asked = this.#allowing.filter((rule) => allowsName(rule, target));
    if (asked.length > 0) return (known) => this.#meant(target, asked, known.get(target.host) ?? []);
    // Not where a rule has networks alone: it allows a name only for what that means.
    const allows = (rule: Rule): boolean => rule.config.targets?.names !== undefined && allowsName(rule, target);
    throw this.#againstStream(target, allows) ?? targetRefusal(this.#allowing, target);
  }

  #meant(target: Address, rules: readonly Rule[], addresses: readonly string[]): Judged {
    const { port } = target;
    const ips = addresses.map((address) => ({ address, ...askedIp(address) }));
    const rule = rules.find((candidate) => ips.every((ip) => allowsAddress(candidate, ip, port, true)));
    const [first] = addresses;
    if (rule && first !== undefined) return { address: { host: first, port }, rule };
    const refused = ips.find((ip) => !rules.some((candidate) => allowsAddress(candidate, ip, port, true))) ?? ips[0];
    throw targetRefusal(rules, target, refused?.address);
  }

  #againstStream(target: Address, allows: (rule: Rule) => boolean, ip?: Ip): Refusal | undefined {
    return this.rules.againstStream(this.identity, this.action, formatAddress(target), allows, ip);
  }
}

function askedIp(address: string): AskedIp {
  const ip = parseIp(address);
  return { ip, special: ip && specialOf(ip) };
}
