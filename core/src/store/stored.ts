import { isIP } from 'node:net';
import { z } from 'zod';
import { isHost } from '../contracts/address.js';
import { quote, SciStreamError } from '../contracts/errors.js';

/** The uid of a stored record. Safe as a file name. */
const uid = z.string().regex(/^[A-Za-z0-9-]{1,64}$/);
const address = z.looseObject({ host: z.string().refine(isHost), port: z.int().min(0).max(65535) });
const addresses = z.array(address);
const literal = z.string().refine((host) => isIP(host) !== 0 && isHost(host));
const targets = z.array(address.extend({ fallbacks: z.array(literal).optional() }));
const spec = z.looseObject({
  name: z.string(),
  role: z.enum(['inbound', 'outbound']),
  transport: z.enum(['tcp', 'udp']),
  connections: z.int().min(1),
  bitsPerSecond: z.number().min(0),
  lifetimeMs: z.number().min(0),
  encryption: z.enum(['tls', 'none']),
  gateway: z.string(),
  proxy: z.string(),
  runtime: z.string(),
  movable: z.boolean().optional(),
});
const time = z.string().refine((text) => Number.isFinite(Date.parse(text)));

/** A row of the table of streams. Fields of other versions are kept unchanged. */
export const StreamRow = z.looseObject({
  order: z.number(),
  record: z.looseObject({
    uid,
    version: z.int().min(1),
    spec,
    state: z.string(),
    owner: z.string(),
    gateway: z.string(),
    proxy: z.string(),
    runtime: z.string(),
    leaving: z.looseObject({ gateway: z.string(), until: time, listeners: addresses.optional() }).optional(),
    listeners: addresses,
    announced: addresses,
    targets,
    asked: targets.optional(),
    createdAt: time,
    expiresAt: time,
  }),
});

/** A row of the table of events. */
export const EventRow = z.looseObject({
  number: z.int().min(1),
  id: z.int().min(1).optional(),
  at: z.string(),
  what: z.string(),
});

/** A row of the streams of a gateway. */
export const GatewayRow = z.looseObject({
  spec,
  proxy: z.string(),
  runtime: z.string(),
  listeners: addresses,
  targets,
  state: z.enum(['reserved', 'starting', 'running', 'releasing']),
  plugins: z.array(z.looseObject({ name: z.string(), version: z.string() })).optional(),
  place: z.enum(['runtime', 'host']).optional(),
  keepPortsUntil: time.optional(),
});

/** A released port of a gateway. */
export const PortRow = z.looseObject({
  port: z.int().min(1).max(65535),
  since: time,
  kept: z.looseObject({ uid, until: time }).optional(),
});

/** Credentials of one side of a stream. */
export const CredentialsFile = z.strictObject({
  certificate: z.string(),
  key: z.string(),
  ca: z.string(),
  peer: z.string(),
});

/**
 * Checks a stored row, because damage on the disk would otherwise show much later.
 * @param key Its key in the table; the uid before a `!`.
 * @throws SCI_STATE_DAMAGED, without the contents of the row
 */
export function whole<T>(schema: z.ZodType, table: string, key: string, value: unknown): T {
  const result = schema.safeParse(value, { reportInput: false });
  const [owner = ''] = key.split('!');
  if (result.success && uid.safeParse(owner).success) return value as T;
  const field = result.success ? 'key' : (result.error.issues[0]?.path.join('.') ?? '');
  throw new SciStreamError('SCI_STATE_DAMAGED', `Record ${quote(key)} in table ${table} is damaged: ${field}.`, {
    suggestions: [
      'Check it: scistream state check --config FILE',
      'Restore the state directory from a backup, or start without it, which ends its streams.',
    ],
  });
}
