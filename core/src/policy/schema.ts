import { z } from 'zod';
import * as field from '../config/fields.js';
import { readDocument } from '../config/load.js';
import { configError } from '../config/problems.js';
import type { Shape } from '../config/shape.js';
import { parseNetwork } from '../contracts/network.js';
import { ROLE_CODES, type Role } from '../contracts/stream.js';
import { parseHostPattern } from './host-pattern.js';

/** What a rule can allow; `list` of an action counts as `view`, `probe` as `update`. */
export const RULED_ACTIONS = ['request', 'hello', 'update', 'release', 'view'] as const;

const identity = z
  .string()
  .regex(/^(\*|[^*]+:[^*]+)$/, 'is not an identity: write issuer:subject, such as token:alice, or "*" for everybody');
/** A role; PROD and CONS are what the protocol calls them. */
const role = z
  .enum(['inbound', 'outbound', ROLE_CODES.inbound, ROLE_CODES.outbound])
  .transform((name): Role => (name === 'inbound' || name === ROLE_CODES.inbound ? 'inbound' : 'outbound'));

const some = <T extends z.ZodType>(item: T) => z.array(item).min(1, 'needs an entry; leave the key out for no limit');

const rule = z.strictObject({
  name: field.name.optional(),
  who: z
    .strictObject({
      identities: some(identity).optional(),
      groups: some(z.string().min(1)).optional(),
      /** Narrows the others to callers of these issuers; alone, all callers of them. */
      issuers: some(z.string().min(1)).optional(),
    })
    .refine(({ identities, groups, issuers }) => identities ?? groups ?? issuers, 'needs identities, groups or issuers')
    .superRefine(({ identities = [], issuers }, context) => {
      // It would be about nobody, which nobody means.
      const lost = identities.find((one) => one !== '*' && issuers?.every((issuer) => !one.startsWith(`${issuer}:`)));
      if (lost === undefined) return;
      const message = `is about nobody with ${lost}, which is of none of the issuers: write a rule of its own for it`;
      context.addIssue({ code: 'custom', message });
    }),
  actions: some(z.enum(RULED_ACTIONS)).optional(),
  roles: some(role).optional(),
  proxies: some(field.name).optional(),
  runtimes: some(field.name).optional(),
  gateways: some(field.name).optional(),
  /** What a stream that it allows is given; an update it allows only of a stream that accepts no others. */
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

/** One rule of a policy file, parsed: rates in bit/s, `lifetime` in ms. */
export type RuleConfig = z.output<typeof rule>;

/**
 * Reads a policy file: YAML or JSON.
 * @throws SCI_CONFIG_NOT_FOUND, SCI_CONFIG_EMPTY, SCI_CONFIG_SYNTAX (with the line), SCI_CONFIG_INVALID, or the code of
 * the one value that is wrong
 */
export async function readRules(path: string): Promise<readonly RuleConfig[]> {
  const { file, document } = await readDocument(path);
  const result = schema.safeParse(document, { reportInput: false });
  if (result.success) return result.data.rules;
  throw configError(file, result.error.issues, z.toJSONSchema(schema, { io: 'input' }) as Shape);
}
