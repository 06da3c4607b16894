import { isIP } from 'node:net';
import { formatAddress, targetOf, type Address, type Target } from '../contracts/address.js';
import { ownerOf, type Identity } from '../contracts/authenticator.js';
import { contains, isWithin, parseIp, specialOf, type Ip, type Network } from '../contracts/network.js';
import { formatPorts } from '../contracts/port-allocator.js';
import { DEMAND, explain, factsOf, firstFailure, type Facts } from './demands.js';
import { matchesHost } from './host-pattern.js';
import type { NameLookups, Targeting } from './name-lookups.js';
import { Refusal } from './refusal.js';
import { allowing, isAbout, SHOWN_RULES } from './rules.js';
import type { Rule, RuleTargets } from './schema.js';

/** Targets or ports that an error shows. */
const SHOWN = 8;

/** A target that a rule allows, as IP literals. */
export interface Judged {
  readonly target: Target;
  readonly rule: Rule;
}

/** The rest of a decision, made once the names are resolved. */
type Open = (known: ReadonlyMap<string, readonly string[]>) => Judged;

/** Decides about the targets of one call. Each target needs a rule that allows both the target and the stream. */
export class TargetJudge {
  readonly #facts: Facts;
  readonly #owner: string;
  /** Rules that allow the action, for errors. */
  readonly #allowing: readonly Rule[];

  /**
   * @param own Addresses of the gateway, which are special
   * @throws SCI_FORBIDDEN when no rule allows the action, whatever its targets
   */
  constructor(
    private readonly rules: readonly Rule[],
    private readonly identity: Identity,
    private readonly action: Targeting,
    private readonly own: readonly Network[] = [],
  ) {
    this.#facts = factsOf(action);
    this.#owner = ownerOf(identity);
    this.#allowing = allowing(rules, identity, action, this.#facts);
  }

  /** @returns one for each target @throws SCI_FORBIDDEN, SCI_TARGET_UNRESOLVED, SCI_TARGETS_INVALID */
  async judge(names: NameLookups): Promise<readonly Judged[]> {
    // Decisions without lookups come first: a name that no rule allows is never resolved.
    const open = this.action.targets.map((target) =>
      isIP(target.host) === 0 ? this.#name(target) : this.#literal(target),
    );
    const known = await names.lookUp(this.identity, this.action);
    return open.map((decide) => decide(known));
  }

  #literal(target: Address): Open {
    const asked = askedIp(target.host, this.action.listeners?.includes(target) ? [] : this.own);
    const [rule] = this.#rulesFor(target, (one) => allowsAddress(one, asked, target.port, false));
    return () => ({ target, rule });
  }

  #name(target: Address): Open {
    const rules = this.#rulesFor(target, (one) => allowsName(one, target));
    return (known) => this.#resolved(target, rules, known.get(target.host) ?? []);
  }

  /** The rules that allow both a target and the stream. @throws SCI_FORBIDDEN */
  #rulesFor(target: Address, allows: (rule: Rule) => boolean): readonly [Rule, ...Rule[]] {
    const near = this.rules.filter((rule) => isAbout(rule, this.identity, this.#owner) && allows(rule));
    const [first, ...others] = near.filter((rule) => firstFailure(rule, this.#facts) === DEMAND.none);
    if (first) return [first, ...others];
    const literal = isIP(target.host) === 0 ? undefined : target.host;
    throw againstStream(near, target, this.#facts) ?? targetRefusal(this.#allowing, target, literal, this.own);
  }

  #resolved(target: Address, rules: readonly Rule[], addresses: readonly string[]): Judged {
    const { port } = target;
    const ips = addresses.map((address) => ({ address, ...askedIp(address, this.own) }));
    const rule = rules.find((candidate) => ips.every((ip) => allowsAddress(candidate, ip, port, true)));
    const [first, ...others] = addresses;
    if (rule && first !== undefined) return { target: targetOf([first, ...others], port), rule };
    const refused = ips.find((ip) => !rules.some((candidate) => allowsAddress(candidate, ip, port, true))) ?? ips[0];
    throw targetRefusal(rules, target, refused?.address, this.own);
  }
}

/**
 * The refusal of a rule that allows a target but not the stream, if there is one.
 * @param rules The rules that allow the target
 */
function againstStream(rules: readonly Rule[], target: Address, facts: Facts): Refusal | undefined {
  for (const rule of rules) {
    // A rule with networks only allows a name for its addresses, which are not known here.
    if (isIP(target.host) === 0 && rule.targets?.names === undefined) continue;
    const failed = firstFailure(rule, facts);
    if (failed < DEMAND.encryption) continue;
    const [what, instead] = explain(failed, rule, facts);
    return new Refusal(`Rule ${rule.name} allows target ${formatAddress(target)}, but not ${what}.`, {
      suggestion: `It allows ${instead}. Create a stream that meets the rule: an existing stream cannot be changed.`,
      rule: rule.name,
    });
  }
  return undefined;
}

/** An address of a target. */
interface AskedIp {
  /** Undefined for an address that no rule can allow, such as one with a zone. */
  readonly ip: Ip | undefined;
  /** Computed once for all rules. */
  readonly special: ReturnType<typeof specialOf>;
}

function askedIp(address: string, own: readonly Network[]): AskedIp {
  const ip = parseIp(address);
  return { ip, special: ip && specialOf(ip, own) };
}

/** Whether a rule allows a name as a target, its addresses aside. */
function allowsName({ targets }: Rule, { host, port }: Address): boolean {
  if (!targets || !allowsPort(targets, port)) return false;
  return targets.names === undefined || targets.names.some((pattern) => matchesHost(pattern, host));
}

/**
 * Whether a rule allows an address: one of its networks contains the address, or the address is that of an allowed name
 * and the rule has no networks.
 */
function allowsAddress({ targets }: Rule, { ip, special }: AskedIp, port: number, named: boolean): boolean {
  if (!ip || !targets || !allowsPort(targets, port)) return false;
  if (targets.networks === undefined) return named && !special;
  // A function for each of a thousand rules would double the time of a scan.
  for (const network of targets.networks) if (covers(network, ip, special)) return true;
  return false;
}

/** Whether a network of a rule allows an address: a special address needs a network within the special one. */
const covers = (network: Network, ip: Ip, special: AskedIp['special']): boolean =>
  contains(network, ip) && (!special || isWithin(network, special.networks));

const allowsPort = ({ ports }: RuleTargets, port: number): boolean =>
  ports === undefined || ports.some(({ first, last }) => first <= port && port <= last);

/**
 * The refusal of a target.
 * @param address The address that was refused: that of the name, shown to the operator only, or the literal itself
 */
function targetRefusal(
  rules: readonly Rule[],
  target: Address,
  address: string | undefined,
  own: readonly Network[],
): Refusal {
  const text = formatAddress(target);
  const [only] = rules.length === 1 ? rules : [];
  const which = only ? `rule ${only.name}` : 'any of the rules ' + someOf(rules, ({ name }) => [name]);
  const { ip, special } = address === undefined ? {} : askedIp(address, own);
  // Compares all rules, so only for a special address.
  const isNamed = (): boolean =>
    ip !== undefined && rules.some(({ targets }) => targets?.networks?.some((network) => covers(network, ip, special)));
  const why = special && !isNamed() ? `: it is ${special.what}, which needs its own network in the rule` : '';
  const hidden = address !== undefined && address !== target.host;
  const allowed = someOf(rules, ({ targets }) => [
    ...(targets?.networks ?? []).map((network) => network.text),
    ...(targets?.names ?? []),
  ]);
  const ports = someOf(rules, ({ targets }) => (targets?.ports ?? []).map(formatPorts));
  const message = hidden
    ? `Target ${text} resolves here to an address that is not allowed by ${which}.`
    : `Target ${text} is not allowed by ${which}${why}.`;
  return new Refusal(message, {
    suggestion: allowed ? `Allowed targets: ${allowed}${ports && `; ports: ${ports}`}.` : 'No targets are allowed.',
    rule: only?.name,
    reason: hidden ? `Target ${text}, which resolves to ${address} here, is not allowed by ${which}${why}.` : undefined,
  });
}

/** Distinct texts of the rules for an error, at most {@link SHOWN}. */
function someOf(rules: readonly Rule[], of: (rule: Rule) => readonly string[]): string {
  const texts = [...new Set(rules.slice(0, SHOWN_RULES).flatMap(of))];
  const more = texts.length > SHOWN || (texts.length > 0 && rules.length > SHOWN_RULES);
  return `${texts.slice(0, SHOWN).join(', ')}${more ? ' and more' : ''}`;
}
