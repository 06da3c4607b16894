import { z } from 'zod';
import * as field from '../config/fields.js';
import { readDocument } from '../config/load.js';
import { configError } from '../config/problems.js';
import type { Shape } from '../config/shape.js';
import { parseNetwork, type Network } from '../contracts/network.js';
import type { PortRange } from '../contracts/port-allocator.js';
import { ROLE_CODES, type Role } from '../contracts/stream.js';
import { parseHostPattern, type HostPattern } from './host-pattern.js';

/** Actions that a rule can allow. `list` counts as `view`. A rule with `update` allows `probe`, too. */
export const RULED_ACTIONS = ['request', 'hello', 'update', 'probe', 'release', 'view'] as const;

const identity = z
  .string()
  .regex(/^(\*|[^*]+:[^*]+)$/, 'is not an identity: write issuer:subject, such as token:alice, or "*" for all callers');
/** A role. PROD and CONS are its names in the protocol. */
const role = z
  .enum(['inbound', 'outbound', ROLE_CODES.inbound, ROLE_CODES.outbound])
  .transform((name): Role => (name === 'inbound' || name === ROLE_CODES.inbound ? 'inbound' : 'outbound'));

const some = <T extends z.ZodType>(item: T) => z.array(item).min(1, 'needs an entry; remove the key for no limit');

const rule = z.strictObject({
  name: field.name.optional(),
  who: z
    .strictObject({
      identities: some(identity).optional(),
      groups: some(z.string().min(1)).optional(),
      /** Restricts the other keys to callers of these issuers. Without other keys: all callers of these issuers. */
      issuers: some(z.string().min(1)).optional(),
    })
    .refine(({ identities, groups, issuers }) => identities ?? groups ?? issuers, 'needs identities, groups or issuers')
    .superRefine(({ identities = [], issuers }, context) => {
      const lost = identities.find((one) => one !== '*' && issuers?.every((issuer) => !one.startsWith(`${issuer}:`)));
      if (lost === undefined) return;
      const message = `never matches ${lost}, which belongs to none of the issuers: write a separate rule for it`;
      context.addIssue({ code: 'custom', message });
    }),
  actions: some(z.enum(RULED_ACTIONS)).optional(),
  roles: some(role).optional(),
  proxies: some(field.name).optional(),
  runtimes: some(field.name).optional(),
  gateways: some(field.name).optional(),
  /** A request that the rule allows gets these sources. An update is allowed only if the stream accepts no others. */
  sources: some(field.text(parseNetwork)).optional(),
  encryption: some(z.enum(['tls', 'none'])).prefault(['tls']),
  targets: z
    .strictObject({
      networks: some(field.text(parseNetwork)).optional(),
      names: some(field.text(parseHostPattern)).optional(),
      ports: some(field.ports).optional(),
    })
    .refine(({ networks, names }) => networks ?? names, 'needs networks or names')
    .optional(),
  limits: z
    .strictObject({
      connections: field.count.optional(),
      bandwidth: field.rate.optional(),
      totalBandwidth: field.rate.optional(),
      lifetime: field.duration.optional(),
      streams: field.count.optional(),
    })
    .prefault({}),
});

const schema = z.strictObject({ rules: z.array(rule).min(1, 'needs a rule') });

type List<T = string> = readonly T[] | undefined;

/**
 * A rule, ready for decisions. All rules have the same flat shape, because the engine compares objects of one shape
 * several times faster than objects with optional keys. `undefined` means no limit.
 */
export interface Rule {
  readonly name: string;
  /** Undefined together with `groups`: everybody. */
  readonly identities: List;
  readonly groups: List;
  readonly issuers: List;
  readonly actions: List;
  readonly roles: List;
  readonly gateways: List;
  readonly proxies: List;
  readonly runtimes: List;
  readonly encryption: List;
  readonly connections: number | undefined;
  /** bit/s */
  readonly bandwidth: number | undefined;
  /** ms */
  readonly lifetime: number | undefined;
  readonly streams: number | undefined;
  /** bit/s */
  readonly totalBandwidth: number | undefined;
  readonly sources: List<Network>;
  /** Undefined: the rule allows no targets. */
  readonly targets: RuleTargets | undefined;
}

/** Targets that a rule allows. */
export interface RuleTargets {
  readonly networks: List<Network>;
  readonly names: List<HostPattern>;
  readonly ports: List<PortRange>;
}

function ruleOf(config: z.output<typeof rule>, place: number): Rule {
  const { who, limits, targets } = config;
  const everybody = who.identities?.includes('*');
  return {
    name: config.name ?? `rules.${place}`,
    identities: everybody ? undefined : who.identities,
    groups: everybody ? undefined : who.groups,
    issuers: who.issuers,
    actions: config.actions?.includes('update') ? [...config.actions, 'probe'] : config.actions,
    roles: config.roles,
    gateways: config.gateways,
    proxies: config.proxies,
    runtimes: config.runtimes,
    encryption: config.encryption,
    connections: limits.connections,
    bandwidth: limits.bandwidth,
    lifetime: limits.lifetime,
    streams: limits.streams,
    totalBandwidth: limits.totalBandwidth,
    sources: config.sources,
    targets: targets && { networks: targets.networks, names: targets.names, ports: targets.ports },
  };
}

/**
 * Reads a policy file: YAML or JSON.
 * @throws SCI_CONFIG_NOT_FOUND, SCI_CONFIG_EMPTY, SCI_CONFIG_SYNTAX (with the line), SCI_CONFIG_INVALID, or the code of
 * an invalid value
 */
export async function readRules(path: string): Promise<readonly Rule[]> {
  const { file, document } = await readDocument(path, {});
  const result = schema.safeParse(document, { reportInput: false });
  if (result.success) return result.data.rules.map(ruleOf);
  throw configError(file, result.error.issues, z.toJSONSchema(schema, { io: 'input' }) as Shape);
}
