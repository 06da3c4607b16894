import { z } from 'zod';

const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'is not a name (letters, digits, ".", "_" and "-")');
const ip = z
  .union([z.ipv4(), z.ipv6()])
  .refine((text) => !/^(0\.0\.0\.0|[0:]+)$/.test(text), 'is not a single address');
const duration = z.int().positive();

/** Default path of the REST interface. */
const BASE_PATH = '/api/janus/controller';

const url = z
  .url({ protocol: /^https$/ })
  .transform((text) => new URL(text))
  .refine(
    ({ username, password, search, hash }) => !`${username}${password}${search}${hash}`,
    'must not contain credentials or a query; use auth, user and group',
  )
  .transform(({ origin, pathname }) => origin + (pathname === '/' ? BASE_PATH : pathname.replace(/\/+$/, '')));

const fingerprint = z
  .string()
  .regex(/^sha256:[0-9a-f]{2}(:?[0-9a-f]{2}){31}$/i, 'is not sha256: and 64 hex digits')
  .transform((text) => `sha256:${text.slice('sha256:'.length).replaceAll(':', '').toLowerCase()}`);

const path = z.string().min(1);
const variable = z.string().regex(/^[A-Za-z_]\w*$/, 'is not the name of a variable');

/** Source of a secret. The configuration never contains the secret. */
const Auth = z.union([
  z.strictObject({ user: z.string().regex(/^[^:]+$/), passwordFile: path }),
  z.strictObject({ user: z.string().regex(/^[^:]+$/), passwordEnv: variable }),
  z.strictObject({ tokenFile: path }),
  z.strictObject({ tokenEnv: variable }),
]);

/** Settings of the host profile of every stream. Omitted settings keep the values of Janus' base profile. */
const Profile = z.strictObject({
  /** "host" gives instances the addresses of their node. No other value is supported. */
  mgmt_net: z.literal('host').default('host'),
  cpu: z.int().nonnegative().optional(),
  memory: z.int().nonnegative().optional(),
  privileged: z.boolean().optional(),
  pull_image: z.boolean().optional(),
  qos: z.string().min(1).optional(),
});

/** Schema of the key `runtimes.janus`. */
export const JanusOptions = z
  .strictObject({
    /** `https://host:port`, with a path if a reverse proxy in front of the controller needs one. */
    url,
    /** PEM file of the CA that signed the controller's certificate, or of that certificate. */
    ca: path.optional(),
    /** `sha256:…` of the controller's certificate, which is then trusted regardless of its issuer. */
    fingerprint: fingerprint.optional(),
    auth: Auth.optional(),
    /** The user on whose behalf the account `admin` acts. */
    user: z.string().min(1).optional(),
    group: z.string().min(1).optional(),
    /** Gateway nodes by their Janus names, with their public addresses. */
    nodes: z
      .array(z.strictObject({ name, wan: ip, lan: ip }))
      .min(1)
      .refine((nodes) => new Set(nodes.map((node) => node.name)).size === nodes.length, 'has a duplicate name'),
    profile: Profile.default({ mgmt_net: 'host' }),
    /** Deadline of a request, ms. */
    timeout: duration.default(30_000),
    /** Number of retries after 5xx, a broken connection or a timeout. */
    retries: z.int().min(0).max(20).default(5),
    /** Pause before the first retry, ms. It doubles up to `maxBackOff`, minus a random part of at most one half. */
    backOff: duration.default(200),
    maxBackOff: duration.default(10_000),
    /** Interval between checks whether a program has ended, ms. Each check runs one command in its container. */
    heartbeat: duration.default(1_000),
  })
  .refine(({ ca, fingerprint: pin }) => !(ca && pin), {
    message: 'give ca or fingerprint, not both',
    path: ['fingerprint'],
  });

/** The validated options. */
export type JanusOptions = z.output<typeof JanusOptions>;
