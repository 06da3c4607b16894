import { formatNetwork, isWithin, parseNetwork, type Network } from '../contracts/network.js';
import type { Action as AnyAction } from '../contracts/policy.js';
import { formatRate } from '../contracts/units.js';
import { RULED_ACTIONS, type RuleConfig } from './schema.js';

/** What rules are about: something with a stream. */
export type Action = Exclude<AnyAction, { kind: 'drain' }>;

const ROLES = ['inbound', 'outbound'] as const;
const ENCRYPTIONS = ['tls', 'none'] as const;

/**
 * What a rule demands of an action, flat and of one shape for all rules: sets are bits, what it does not limit is
 * infinite. A decision compares a thousand of them within microseconds, which it could not with a function for each key.
 */
export interface Demands {
  readonly actions: number;
  readonly roles: number;
  readonly gateways: readonly string[] | undefined;
  readonly proxies: readonly string[] | undefined;
  readonly runtimes: readonly string[] | undefined;
  readonly encryption: number;
  readonly connections: number;
  readonly bandwidth: number;
  readonly lifetime: number;
  readonly streams: number;
  readonly totalBandwidth: number;
  readonly sources: readonly Network[] | undefined;
}

/**
 * An action in the same form. `request`, `update` and `probe` count what the stream takes; what only sees or ends a stream
 * costs nothing.
 */
export interface Facts extends Omit<Demands, 'gateways' | 'proxies' | 'runtimes'> {
  readonly gateway: string;
  /** Undefined as long as nobody can tell which it will be: no rule refuses for it. */
  readonly proxy: string | undefined;
  readonly runtime: string | undefined;
}

/** From where a stream without `sources` accepts connections. */
const EVERYWHERE = ['0.0.0.0/0', '::/0'].map(parseNetwork);

/** Where {@link firstFailure} stops for a stream that should be, or should not be, encrypted. */
export const ENCRYPTION = 5;
const SOURCES = 11;

/** Made once for each rule. */
export function demandsOf(rule: RuleConfig): Demands {
  const { actions, roles, gateways, proxies, runtimes, encryption, limits } = rule;
  return {
    actions: bits<string>(RULED_ACTIONS, actions),
    roles: bits<string>(ROLES, roles),
    gateways,
    proxies,
    runtimes,
    encryption: bits<string>(ENCRYPTIONS, encryption),
    connections: limits.connections ?? Infinity,
    bandwidth: limits.bandwidth ?? Infinity,
    lifetime: limits.lifetime ?? Infinity,
    streams: limits.streams ?? Infinity,
    totalBandwidth: limits.totalBandwidth ?? Infinity,
    sources: rule.sources,
  };
}

/** Made once for each decision. */
export function factsOf(action: Action): Facts {
  const { gateway, proxy, runtime, spec } = action.stream;
  const { role, encryption } = spec;
  return {
    actions: bits<string>(RULED_ACTIONS, [ruled(action.kind)]),
    roles: bits<string>(ROLES, [role]),
    gateway,
    proxy,
    runtime,
    encryption: bits<string>(ENCRYPTIONS, [encryption]),
    ...sizeOf(action),
  };
}

type Size = Pick<Facts, 'connections' | 'bandwidth' | 'lifetime' | 'streams' | 'totalBandwidth' | 'sources'>;

const NOTHING: Size = { connections: 0, bandwidth: 0, lifetime: 0, streams: 0, totalBandwidth: 0, sources: undefined };

function sizeOf(action: Action): Size {
  const { stream } = action;
  const { connections, lifetimeMs: lifetime } = stream.spec;
  const bandwidth = rateOf(stream.spec);
  if (action.kind === 'request') {
    const { usage } = action;
    const totalBandwidth = bandwidth + usage.bitsPerSecond;
    return { connections, bandwidth, lifetime, streams: usage.streams + 1, totalBandwidth, sources: undefined };
  }
  if (action.kind !== 'update' && action.kind !== 'probe') return NOTHING;
  return {
    connections,
    bandwidth,
    lifetime,
    // What else the caller has counts when it asks for a stream.
    streams: 1,
    totalBandwidth: bandwidth,
    sources: stream.spec.sources?.map(parseNetwork) ?? EVERYWHERE,
  };
}

/** Which demand is not met first, in the order of {@link explain}; -1 when none. */
export function firstFailure(demands: Demands, facts: Facts): number {
  if ((demands.actions & facts.actions) === 0) return 0;
  if ((demands.roles & facts.roles) === 0) return 1;
  if (demands.gateways !== undefined && !demands.gateways.includes(facts.gateway)) return 2;
  if (!has(demands.proxies, facts.proxy)) return 3;
  if (!has(demands.runtimes, facts.runtime)) return 4;
  if ((demands.encryption & facts.encryption) === 0) return ENCRYPTION;
  if (facts.connections > demands.connections) return 6;
  if (facts.bandwidth > demands.bandwidth) return 7;
  if (facts.lifetime > demands.lifetime) return 8;
  if (facts.streams > demands.streams) return 9;
  if (facts.totalBandwidth > demands.totalBandwidth) return 10;
  return accepts(demands.sources, facts.sources) ? -1 : SOURCES;
}

/** Whether a rule with these sources has nothing against a stream with those. */
const accepts = (allowed: readonly Network[] | undefined, own: readonly Network[] | undefined): boolean =>
  !allowed || !own || own.every((network) => isWithin(network, allowed));

const has = (allowed: readonly string[] | undefined, asked: string | undefined): boolean =>
  allowed === undefined || asked === undefined || allowed.includes(asked);

/** What the rule does not allow, and what it does. @param failure As {@link firstFailure} returned it */
export function explain(failure: number, rule: RuleConfig, action: Action): readonly [string, string] {
  const { stream } = action;
  const { connections, bandwidth, lifetime, streams, totalBandwidth } = factsOf(action);
  const { limits } = rule;
  switch (failure) {
    case 0:
      return listed('action', ruled(action.kind), 'actions', rule.actions);
    case 1:
      return listed('role', stream.spec.role, 'roles', rule.roles);
    case 2:
      return listed('gateway', stream.gateway, 'gateways', rule.gateways);
    case 3:
      return listed('proxy', stream.proxy, 'proxies', rule.proxies);
    case 4:
      return listed('runtime', stream.runtime, 'runtimes', rule.runtimes);
    case ENCRYPTION:
      return listed('encryption', stream.spec.encryption, 'encryption', rule.encryption);
    case 6:
      return limited(connections, 'connections', 'connections', limits.connections, String);
    case 7:
      return limited(bandwidth, 'bandwidth', 'bandwidth', limits.bandwidth, formatRate);
    case 8:
      return limited(lifetime, 'lifetime', 'lifetime', limits.lifetime, hours);
    case 9:
      return limited(streams, 'streams at once', 'streams', limits.streams, String);
    case SOURCES:
      return [
        `connections from ${stream.spec.sources?.join(', ') ?? 'everywhere'}`,
        `sources: ${(rule.sources ?? EVERYWHERE).map(formatNetwork).join(', ')}`,
      ];
    default:
      return limited(
        totalBandwidth,
        'bandwidth of all streams together',
        'totalBandwidth',
        limits.totalBandwidth,
        formatRate,
      );
  }
}

const listed = (
  what: string,
  asked: string,
  key: string,
  allowed: readonly string[] = ['all'],
): readonly [string, string] => [`${what} ${asked}`, `${key}: ${allowed.join(', ')}`];

const limited = (
  asked: number,
  what: string,
  key: string,
  most: number | undefined,
  text: (value: number) => string,
): readonly [string, string] => [
  `${Number.isFinite(asked) ? text(asked) : 'unlimited'} ${what}`,
  `${key}: at most ${text(most ?? Infinity)}`,
];

/** One bit for each item of the list; all of them without a list. */
const bits = <T>(all: readonly T[], some: readonly T[] = all): number =>
  some.reduce((sum, item) => sum | (1 << all.indexOf(item)), 0);

/** A stream that asks for no rate may take all there is. */
const rateOf = ({ bitsPerSecond }: { readonly bitsPerSecond: number }): number => bitsPerSecond || Infinity;

const hours = (ms: number): string => `${Number((ms / 3_600_000).toPrecision(3))} h`;

/** `list` of an action counts as `view`, `probe` as `update`. */
function ruled(kind: Action['kind']): (typeof RULED_ACTIONS)[number] {
  if (kind === 'list') return 'view';
  return kind === 'probe' ? 'update' : kind;
}
