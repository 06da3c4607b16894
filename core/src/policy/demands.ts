import { formatNetwork, isWithin, parseNetwork, type Network } from '../contracts/network.js';
import type { Action as AnyAction } from '../contracts/policy.js';
import { formatRate } from '../contracts/units.js';
import { type RULED_ACTIONS, type Rule } from './schema.js';

/** Actions that rules decide about: those on a stream. */
export type Action = Exclude<AnyAction, { kind: 'drain' }>;

/** The demands of a rule in the order in which they are checked. `none` means that the action meets all of them. */
export const DEMAND = {
  action: 0,
  role: 1,
  gateway: 2,
  proxy: 3,
  runtime: 4,
  encryption: 5,
  connections: 6,
  bandwidth: 7,
  lifetime: 8,
  streams: 9,
  totalBandwidth: 10,
  sources: 11,
  none: 12,
} as const;

/** A demand that an action does not meet, or `none`. */
export type Demand = (typeof DEMAND)[keyof typeof DEMAND];

/** An action in the terms of rules. Actions other than `request`, `update` and `probe` have the size 0. */
export interface Facts {
  readonly action: (typeof RULED_ACTIONS)[number];
  readonly role: string;
  readonly gateway: string;
  /** Undefined while the proxy is not known: no rule rejects the action for it. */
  readonly proxy: string | undefined;
  readonly runtime: string | undefined;
  readonly encryption: string;
  readonly connections: number;
  /** bit/s; Infinity for a stream without a rate. */
  readonly bandwidth: number;
  /** ms */
  readonly lifetime: number;
  readonly streams: number;
  /** bit/s */
  readonly totalBandwidth: number;
  readonly sources: readonly Network[] | undefined;
}

/** Sources of a stream that accepts connections from everywhere. */
const EVERYWHERE = ['0.0.0.0/0', '::/0'].map(parseNetwork);

/** Facts of an action, made once per decision. */
export function factsOf(action: Action): Facts {
  const { gateway, proxy, runtime, spec } = action.stream;
  const { role, encryption } = spec;
  return { action: ruled(action.kind), role, gateway, proxy, runtime, encryption, ...sizeOf(action) };
}

type Size = Pick<Facts, 'connections' | 'bandwidth' | 'lifetime' | 'streams' | 'totalBandwidth' | 'sources'>;

const NOTHING: Size = { connections: 0, bandwidth: 0, lifetime: 0, streams: 0, totalBandwidth: 0, sources: undefined };

function sizeOf(action: Action): Size {
  const { stream } = action;
  const { connections, lifetimeMs: lifetime } = stream.spec;
  const bandwidth = stream.spec.bitsPerSecond || Infinity;
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
    // Other streams of the caller count only at a request.
    streams: 1,
    totalBandwidth: bandwidth,
    sources: stream.spec.sources?.map(parseNetwork) ?? EVERYWHERE,
  };
}

/** The first demand that an action does not meet. */
export function firstFailure(rule: Rule, facts: Facts): Demand {
  if (!has(rule.actions, facts.action)) return DEMAND.action;
  if (!has(rule.roles, facts.role)) return DEMAND.role;
  if (!has(rule.gateways, facts.gateway)) return DEMAND.gateway;
  if (!has(rule.proxies, facts.proxy)) return DEMAND.proxy;
  if (!has(rule.runtimes, facts.runtime)) return DEMAND.runtime;
  if (!has(rule.encryption, facts.encryption)) return DEMAND.encryption;
  if (exceeds(facts.connections, rule.connections)) return DEMAND.connections;
  if (exceeds(facts.bandwidth, rule.bandwidth)) return DEMAND.bandwidth;
  if (exceeds(facts.lifetime, rule.lifetime)) return DEMAND.lifetime;
  if (exceeds(facts.streams, rule.streams)) return DEMAND.streams;
  if (exceeds(facts.totalBandwidth, rule.totalBandwidth)) return DEMAND.totalBandwidth;
  return accepts(rule.sources, facts.sources) ? DEMAND.none : DEMAND.sources;
}

const has = (allowed: readonly string[] | undefined, one: string | undefined): boolean =>
  allowed === undefined || one === undefined || allowed.some((item) => item === one);

const exceeds = (value: number, most: number | undefined): boolean => most !== undefined && value > most;

const accepts = (allowed: readonly Network[] | undefined, own: readonly Network[] | undefined): boolean =>
  !allowed || !own || own.every((network) => isWithin(network, allowed));

/** The property of the action that the rule rejects, and the values that the rule allows. */
export function explain(failed: Demand, rule: Rule, facts: Facts): readonly [string, string] {
  switch (failed) {
    case DEMAND.action:
      return listed('action', facts.action, 'actions', rule.actions);
    case DEMAND.role:
      return listed('role', facts.role, 'roles', rule.roles);
    case DEMAND.gateway:
      return listed('gateway', facts.gateway, 'gateways', rule.gateways);
    case DEMAND.proxy:
      return listed('proxy', facts.proxy, 'proxies', rule.proxies);
    case DEMAND.runtime:
      return listed('runtime', facts.runtime, 'runtimes', rule.runtimes);
    case DEMAND.encryption:
      return listed('encryption', facts.encryption, 'encryption', rule.encryption);
    case DEMAND.connections:
      return limited(facts.connections, 'connections', 'connections', rule.connections, String);
    case DEMAND.bandwidth:
      return limited(facts.bandwidth, 'bandwidth', 'bandwidth (--rate)', rule.bandwidth, formatRate);
    case DEMAND.lifetime:
      return limited(facts.lifetime, 'lifetime', 'lifetime', rule.lifetime, hours);
    case DEMAND.streams:
      return limited(facts.streams, 'simultaneous streams', 'streams', rule.streams, String);
    case DEMAND.totalBandwidth:
      return limited(facts.totalBandwidth, 'total bandwidth', 'totalBandwidth', rule.totalBandwidth, formatRate);
    default:
      return [
        `connections from ${listOf(facts.sources)}`,
        `sources: ${(rule.sources ?? []).map(formatNetwork).join(', ')}`,
      ];
  }
}

const listOf = (networks: readonly Network[] = EVERYWHERE): string =>
  networks === EVERYWHERE ? 'everywhere' : networks.map(({ text }) => text).join(', ');

const listed = (
  what: string,
  value: string | undefined,
  key: string,
  allowed: readonly string[] | undefined,
): readonly [string, string] => [`${what} ${value}`, `${key}: ${allowed?.join(', ') ?? 'all'}`];

const limited = (
  value: number,
  what: string,
  key: string,
  most: number | undefined,
  text: (value: number) => string,
): readonly [string, string] => [
  `${Number.isFinite(value) ? text(value) : 'unlimited'} ${what}`,
  `${key}: at most ${text(most ?? Infinity)}`,
];

const hours = (ms: number): string => `${Number((ms / 3_600_000).toPrecision(3))} h`;

const ruled = (kind: Action['kind']): (typeof RULED_ACTIONS)[number] => (kind === 'list' ? 'view' : kind);
