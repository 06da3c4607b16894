import { z } from 'zod';

const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'is not a name (letters, digits, ".", "_" and "-")');
const ip = z.union([z.ipv4(), z.ipv6()]).refine((text) => !/^(0\.0\.0\.0|[0:]+)$/.test(text), 'names no one address');
const duration = z.int().positive();

/** Path of the REST interface when `url` names none (janus-api.md). */
const BASE_PATH = '/api/janus/controller';

const url = z
  .url({ protocol: /^https$/ })
  .transform((text) => new URL(text))
  .refine(
    ({ username, password, search, hash }) => !`${username}${password}${search}${hash}`,
    'has no place for credentials or a query; see auth, user and group',
  )
  .transform(({ origin, pathname }) => origin + (pathname === '/' ? BASE_PATH : pathname.replace(/\/+$/, '')));

const fingerprint = z
  .string()
  .regex(/^sha256:[0-9a-f]{2}(:?[0-9a-f]{2}){31}$/i, 'is not sha256: and 64 hex digits')
  .transform((text) => `sha256:${text.slice('sha256:'.length).replaceAll(':', '').toLowerCase()}`);

const path = z.string().min(1);
const variable = z.string().regex(/^[A-Za-z_]\w*$/, 'is not the name of a variable');

/** Where a secret is found; the secret itself never stands in the configuration. */
const Auth = z.union([
  z.strictObject({ user: z.string().regex(/^[^:]+$/), passwordFile: path }),
  z.strictObject({ user: z.string().regex(/^[^:]+$/), passwordEnv: variable }),
  z.strictObject({ tokenFile: path }),
  z.strictObject({ tokenEnv: variable }),
]);

/** Settings of the host profile of every stream; what is left out stays as Janus' base profile has it. */
const Profile = z.strictObject({
  /** "host": instances have the addresses of their node, and nothing else is possible for now. */
  mgmt_net: z.literal('host').default('host'),
  cpu: z.int().nonnegative().optional(),
  memory: z.int().nonnegative().optional(),
  privileged: z.boolean().optional(),
  pull_image: z.boolean().optional(),
  qos: z.string().min(1).optional(),
});

/** Key `runtimes.janus` of the configuration. */
export const JanusOptions = z
  .strictObject({
    /** `https://host:port`, with another path than Janus' own where a proxy in front of it needs one. */
    url,
    /** PEM file of the CA that signed the controller's certificate, or of that certificate itself. */
    ca: path.optional(),
    /** `sha256:…` of the controller's certificate, which is then trusted whoever signed it. */
    fingerprint: fingerprint.optional(),
    auth: Auth.optional(),
    /** For whom the account `admin` acts. */
    user: z.string().min(1).optional(),
    group: z.string().min(1).optional(),
    /** Gateway nodes by their names in Janus, with the addresses the world reaches them by. */
    nodes: z
      .array(z.strictObject({ name, wan: ip, lan: ip }))
      .min(1)
      .refine((nodes) => new Set(nodes.map((node) => node.name)).size === nodes.length, 'has a name twice'),
    profile: Profile.default({ mgmt_net: 'host' }),
    /** Until a request counts as failed, ms. */
    timeout: duration.default(30_000),
    /** How often a request is sent again after 5xx, a broken connection or silence. */
    retries: z.int().min(0).max(20).default(5),
    /** Pause before the second try, ms; then twice as long each, at most `maxBackOff`, and up to half of it at random. */
    backOff: duration.default(200),
    maxBackOff: duration.default(10_000),
    /** How often a program is looked at to notice that it has ended, ms. Each look is one command in its container. */
    heartbeat: duration.default(1_000),
  })
  .refine(({ ca, fingerprint: pin }) => !(ca && pin), {
    message: 'give ca or fingerprint, not both',
    path: ['fingerprint'],
  });

/** The options, checked. */
export type JanusOptions = z.output<typeof JanusOptions>;
