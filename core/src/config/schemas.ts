import { existsSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { quote } from '../contracts/errors.js';
import { stateHome } from '../contracts/user-directories.js';
import * as field from './fields.js';
import { parseIssuer } from './issuer-url.js';

/** The environment of a document that its schema depends on. */
export interface Surroundings {
  /** Base of relative paths: the directory of the file. */
  readonly directory: string;
  /** Default of `facility` and of the name of the gateway. */
  readonly hostName: string;
  /** Parent of the default state directories. */
  readonly stateHome: string;
}

/** The surroundings on this host, for a document in `directory`. */
export function surroundings(directory: string, env: NodeJS.ProcessEnv): Surroundings {
  const short = (hostname().split('.')[0] ?? '').replace(/[^A-Za-z0-9_-]/g, '') || 'localhost';
  return { directory, hostName: short, stateHome: process.getuid?.() === 0 ? '/var/lib' : stateHome(env) };
}

/** A state directory: by default /var/lib/scistream for root, ~/.local/state/scistream/HOST/s2cs for other users. */
const state = ({ directory, stateHome, hostName }: Surroundings, asRoot: string, asUser: string) =>
  field
    .path(directory)
    .prefault(stateHome === '/var/lib' ? join(stateHome, asRoot) : ownState(stateHome, hostName, asUser));

/**
 * The state directory of this host in a home that several hosts may share. Earlier versions used one without the name of
 * the host. It stays in use unless it belongs to another host.
 */
function ownState(stateHome: string, hostName: string, name: string): string {
  const own = join(stateHome, hostName, name);
  const earlier = join(stateHome, name);
  return !existsSync(own) && existsSync(earlier) && isOurs(join(earlier, 'lock')) ? earlier : own;
}

/** Whether a lock is absent, from an earlier version, or of this host. */
function isOurs(lock: string): boolean {
  try {
    const { host } = JSON.parse(readFileSync(lock, 'utf8')) as { host?: unknown };
    return host === undefined || host === hostname();
  } catch {
    return true;
  }
}

/** Minimum level of log messages. The flags `--quiet` and `--verbose` override it. */
const logLevel = z.enum(['error', 'warn', 'info', 'debug']).optional();

const gatewayShape = ({ hostName }: Surroundings) => ({
  name: field.name.prefault(hostName),
  wan: field.gatewayIp.prefault('127.0.0.1'),
  lan: field.gatewayIp.prefault('127.0.0.1'),
  advertise: field.gatewayIp.optional(),
  advertiseSources: z.array(field.network).min(1).max(64).optional(),
  wanSource: field.gatewayIp.optional(),
  lanSource: field.gatewayIp.optional(),
  ports: field.ports.prefault('5100-5200'),
  portRest: field.duration.optional(),
  proxy: field.name.prefault('relay'),
  runtime: field.name.prefault('process'),
});

/** The configuration of a control server. */
export function s2csSchema(around: Surroundings) {
  const path = field.path(around.directory);
  const limits = z.strictObject({
    streams: field.count.prefault(1000),
    waiting: field.count.prefault(1000),
    connections: field.count.max(65535).prefault(1024),
    helloTimeout: field.duration.prefault('180s'),
    lifetime: field.duration.prefault('24h'),
    waitingPerIdentity: field.count.prefault(250),
    streamsPerIdentity: field.count.prefault(100),
    connectionsPerIdentity: field.count.optional(),
    streamsPerMinute: field.count.prefault(300),
    updatesPerMinute: field.count.prefault(600),
    endedAge: field.duration.prefault('7d'),
    endedStreams: field.count.prefault(1000),
    endedBytes: field.count.prefault(16_000_000),
    endedBytesPerIdentity: field.count.prefault(4_000_000),
    watchesPerIdentity: field.count.prefault(100),
    updatesPerSecond: field.count.prefault(10),
    requestsPerSecond: field.count.prefault(1000),
    strangerRequestsPerSecond: field.count.prefault(50),
    strangerTimeout: field.duration.prefault('30s'),
    clients: field.count.prefault(2000),
    clientsPerAddress: field.count.prefault(500),
  });
  const gateway = z
    .strictObject({
      ...gatewayShape(around),
      s2ds: field.s2dsAddress.prefault('embedded'),
      tls: z.strictObject({ ca: path, cert: path, key: path }).optional(),
      capacity: field.rate.optional(),
      labels: z.array(field.name).optional(),
    })
    .refine(({ s2ds, tls }) => isAddress(s2ds) === (tls !== undefined), {
      path: ['tls'],
      message: 'is required, with ca, cert and key, if s2ds is host:port, and not allowed otherwise',
    });
  return z.strictObject({
    facility: field.name.prefault(around.hostName),
    listen: field.address.prefault('127.0.0.1:5000'),
    tls: z
      .strictObject({
        cert: path,
        key: path,
        clientCa: path.optional(),
        requireClientCertificate: z.boolean().optional(),
      })
      .refine(
        (tls) => !tls.requireClientCertificate || tls.clientCa !== undefined,
        'needs clientCa for requireClientCertificate',
      )
      .optional(),
    minTls: field.tlsVersion.prefault('1.3'),
    insecure: z.boolean().prefault(false),
    state: state(around, 'scistream', 's2cs'),
    auth: z.array(z.looseObject({ use: field.name })).prefault([]),
    limits: limits
      .transform(({ helloTimeout, lifetime, strangerTimeout, endedAge, connectionsPerIdentity, ...rest }) => ({
        ...rest,
        // Always a key, so that a reload can remove the limit.
        connectionsPerIdentity,
        endedAgeMs: endedAge,
        strangerTimeoutMs: strangerTimeout,
        helloTimeoutMs: helloTimeout,
        lifetimeMs: lifetime,
      }))
      .prefault({}),
    gateways: z
      .array(gateway)
      .min(1, 'needs at least one gateway')
      .superRefine(mustBeDistinct)
      .superRefine(mustNotBeNames)
      .prefault([{}]),
    proxies: field.options.prefault({}),
    runtimes: field.options.prefault({}),
    plugins: z.array(z.string().min(1)).prefault([]),
    encryption: z.enum(['required', 'optional']).prefault('required'),
    policy: path.optional(),
    log: logLevel,
    metrics: field.address.optional(),
    audit: z
      .strictObject({
        file: path,
        size: z.int().min(1000).prefault(10_000_000),
        keep: z.int().min(0).max(1000).prefault(5),
        rotate: field.duration.prefault('7d'),
        minAge: field.duration.prefault('14d'),
      })
      .transform(({ rotate, minAge, ...rest }) => ({ ...rest, rotateMs: rotate, minAgeMs: minAge }))
      .optional(),
  });
}

/** Whether a data server is reached over the network. */
const isAddress = (s2ds: string): boolean => s2ds !== 'embedded' && !s2ds.startsWith('unix:');

/** Gateways have distinct names and distinct data servers. Only one gateway can be embedded. */
function mustBeDistinct(
  gateways: readonly { readonly name: string; readonly s2ds: string }[],
  context: z.RefinementCtx,
): void {
  for (const key of ['name', 's2ds'] as const) {
    const values = gateways.map((gateway) => gateway[key]);
    const again = values.findIndex((value, i) => values.indexOf(value) < i);
    if (again === -1) continue;
    const message = `is ${quote(values[again])}, which another gateway already uses`;
    context.addIssue({ code: 'custom', path: [again, key], message });
  }
}

/** A request selects a gateway by name or by label, so no label may equal a name. */
function mustNotBeNames(
  gateways: readonly { readonly name: string; readonly labels?: readonly string[] | undefined }[],
  context: z.RefinementCtx,
): void {
  const names = gateways.map(({ name }) => name);
  for (const [i, { labels = [] }] of gateways.entries()) {
    const label = labels.find((one) => names.includes(one));
    if (label === undefined) continue;
    const message = `has ${quote(label)}, which is the name of a gateway`;
    context.addIssue({ code: 'custom', path: [i, 'labels'], message });
  }
}

/** The configuration of a data server that runs as its own daemon. */
export function s2dsSchema(around: Surroundings) {
  const path = field.path(around.directory);
  const document = z.strictObject({
    ...gatewayShape(around),
    listen: field.dataListen.prefault('unix:/run/scistream/s2ds.sock'),
    tls: z.strictObject({ cert: path, key: path, clientCa: path }).optional(),
    s2cs: z.strictObject({ fingerprint: field.fingerprint }).optional(),
    state: state(around, 'scistream-s2ds', 's2ds'),
    proxies: field.options.prefault({}),
    runtimes: field.options.prefault({}),
    plugins: z.array(z.string().min(1)).prefault([]),
    log: logLevel,
  });
  return document
    .refine(({ listen, tls }) => listen.startsWith('unix:') === (tls === undefined), {
      path: ['tls'],
      message: 'is required, with cert, key and clientCa, if listen is host:port, and not allowed otherwise',
    })
    .refine(({ tls, s2cs }) => tls !== undefined || s2cs === undefined, {
      path: ['s2cs'],
      message: 'needs listen with host:port: unix sockets use no certificates',
    });
}

/** A stream document. All keys are optional, and flags override them. */
export function streamSchema() {
  const list = z.union([z.array(field.address), field.addresses]);
  return z
    .strictObject({
      from: z.string().min(1).optional(),
      to: z.string().min(1).optional(),
      fromGateway: field.name.optional(),
      toGateway: field.name.optional(),
      name: field.name.optional(),
      producer: list.optional(),
      connections: field.count.max(65535).optional(),
      rate: field.rate.optional(),
      lifetime: field.duration.optional(),
      wait: field.duration.optional(),
      proxy: field.name.optional(),
      runtime: field.name.optional(),
      transport: z.enum(['tcp', 'udp']).optional(),
      encryption: z.enum(['tls', 'none']).optional(),
      movable: z.boolean().optional(),
      sources: z.union([z.literal('any').transform(() => []), z.array(field.network).min(1).max(64)]).optional(),
    })
    .transform(({ rate, lifetime, wait, ...rest }) => ({
      ...rest,
      ...(rate !== undefined && { bitsPerSecond: rate }),
      ...(lifetime !== undefined && { lifetimeMs: lifetime }),
      ...(wait !== undefined && { waitMs: wait }),
    }));
}

/** The configuration of a user client. */
export function s2ucSchema({ directory }: Pick<Surroundings, 'directory'>) {
  const path = field.path(directory);
  const token = z
    .strictObject({
      file: path.optional(),
      env: z
        .string()
        .regex(/^[A-Za-z_]\w*$/, 'is not the name of an environment variable')
        .optional(),
    })
    .refine(({ file, env }) => (file === undefined) !== (env === undefined), 'needs either file or env');
  const auth = z.strictObject({
    use: z.literal('oidc'),
    issuer: field.text(parseIssuer),
    client: z.string().min(1).max(200),
    scope: z.string().min(1).max(2000).prefault('openid offline_access'),
    resource: z.string().min(1).max(2000).optional(),
  });
  const facility = z
    .strictObject({
      s2cs: field.address,
      ca: path.optional(),
      fingerprint: field.fingerprint.optional(),
      minTls: field.tlsVersion.optional(),
      insecure: z.boolean().optional(),
      pingInterval: field.duration.optional(),
      cert: path.optional(),
      key: path.optional(),
      token: token.optional(),
      auth: auth.optional(),
    })
    .refine(({ cert, key }) => (cert === undefined) === (key === undefined), 'needs cert and key, or neither')
    .refine(({ token, auth }) => !token || !auth, 'has both token and auth, but allows only one of them')
    .transform(({ pingInterval, ...rest }) => ({
      ...rest,
      ...(pingInterval !== undefined && { pingIntervalMs: pingInterval }),
    }));
  return z.strictObject({
    facilities: z.record(field.name, facility).prefault({}),
    streams: z.record(field.name, streamSchema()).prefault({}),
  });
}

/** Schema of each kind. */
export const SCHEMAS = { s2cs: s2csSchema, s2ds: s2dsSchema, s2uc: s2ucSchema } as const;

/** Kind of a configuration. */
export type ConfigKind = keyof typeof SCHEMAS;

/** Configuration of a control server, parsed: durations in ms (`…Ms`), `capacity` in bit/s, paths absolute. */
export type S2csConfig = z.output<ReturnType<typeof s2csSchema>>;
/** One entry of `gateways` in {@link S2csConfig}. */
export type GatewayConfig = S2csConfig['gateways'][number];
/** Configuration of a data server daemon, parsed. `listen` is `unix:/path` or host:port. */
export type S2dsConfig = z.output<ReturnType<typeof s2dsSchema>>;
/** Configuration of a user client, parsed. */
export type S2ucConfig = z.output<ReturnType<typeof s2ucSchema>>;
/** Configuration of one control server in a user client: address, trust and credentials. */
export type FacilityConfig = S2ucConfig['facilities'][string];
/** A stream document, parsed: `bitsPerSecond` (bit/s), `lifetimeMs` and `waitMs` (ms). */
export type StreamConfig = z.output<ReturnType<typeof streamSchema>>;

/** The parsed configuration of each kind. */
export interface Configs {
  s2cs: S2csConfig;
  s2ds: S2dsConfig;
  s2uc: S2ucConfig;
}
