import { z } from 'zod';

/** Settings of a host profile, as in Janus' base profile. */
export const HostSettings = z.strictObject({
  mgmt_net: z.string().default('bridge'),
  data_net: z.string().nullable().default(null),
  environment: z.array(z.string().regex(/^\w+=/)).default([]),
  volumes: z.array(z.string()).default([]),
  arguments: z.string().nullable().default(null),
  entrypoint: z.string().nullable().default(null),
  cpu: z.int().nonnegative().default(0),
  memory: z.int().nonnegative().default(0),
  exposed_ports: z.array(z.string()).default([]),
  ctrl_ports: z.array(z.string()).default([]),
  serv_ports: z.array(z.string()).default([]),
  privileged: z.boolean().default(false),
  pull_image: z.boolean().default(false),
  qos: z.string().nullable().default(null),
});
export type HostSettings = z.output<typeof HostSettings>;

export const ProfileBody = z.strictObject({ settings: HostSettings });

const Instance = z.union([z.string(), z.strictObject({ name: z.string(), constraints: z.looseObject({}).optional() })]);

export const CreateBody = z.strictObject({
  instances: z.array(Instance).min(1),
  image: z.string(),
  profile: z.string(),
  arguments: z.string().optional(),
  entrypoint: z.string().optional(),
  kwargs: z
    .strictObject({
      USER_NAME: z.string().optional(),
      PUBLIC_KEY: z.string().optional(),
      DEPLOYMENT_KEY: z.string().optional(),
    })
    .optional(),
  remove_container: z.boolean().optional(),
  overrides: z.looseObject({}).optional(),
});
export type CreateBody = z.output<typeof CreateBody>;

export const ExecBody = z.strictObject({
  node: z.string(),
  container: z.string(),
  Cmd: z.array(z.string()).min(1),
  start: z.boolean().default(false),
  attach: z.boolean().default(true),
  tty: z.boolean().default(false),
});

/** One container of a session. */
export interface Service {
  container_id: string | null;
  container_name: string;
  image: string;
  profile: string;
  errors: { reason: string; response: string }[];
}

/** A session in the answer of GET /active. */
export interface SessionRecord {
  readonly id: number;
  readonly uuid: string;
  readonly user: string;
  state: 'INITIALIZED' | 'STARTED' | 'STOPPED' | 'MIXED' | 'STALE';
  readonly services: Record<string, Service[]>;
  readonly request: readonly CreateBody[];
  readonly users: readonly string[];
  readonly groups: readonly string[];
}

/** An answer of the emulator: a status and JSON. */
export class Reply extends Error {
  constructor(
    readonly status: number,
    readonly body?: unknown,
  ) {
    super(String(status));
  }
}

/** Validates a body strictly. @throws Reply 400 */
export function checked<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  throw new Reply(400, { error: z.prettifyError(parsed.error) });
}

/** Splits a line like a shell: blanks, both kinds of quotes, backslashes. */
export function splitLikeShell(line: string): string[] {
  const words: string[] = [];
  const pattern = /\s+|((?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])+)/gsy;
  for (const [, raw] of line.matchAll(pattern)) {
    if (raw === undefined) continue;
    words.push(
      raw.replace(
        /'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)/gs,
        (_all, single?: string, double?: string, escaped?: string) =>
          single ?? double?.replace(/\\(["\\$`])/g, '$1') ?? escaped ?? '',
      ),
    );
  }
  return words;
}
