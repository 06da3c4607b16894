import { messageOf, parseDuration } from '@scistream/core';
import { z } from 'zod';

const UNITS = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30 } as const;

/** Parses `512MB` or `1GiB` into bytes. @throws RangeError with the expected format */
function parseBytes(text: string): number {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)\s*([KMG]?I?B)$/i.exec(text.trim()) ?? [];
  const factor = UNITS[unit.toUpperCase() as keyof typeof UNITS];
  const bytes = Math.round(Number(number) * factor);
  if (!Number.isSafeInteger(bytes) || bytes <= 0) throw new RangeError(`"${text}" is not a size such as 512MB or 1GiB`);
  return bytes;
}

/** A text field with a parser. The parser's error becomes the validation error. */
const text = (parse: (value: string) => number): z.ZodType<number, string> =>
  z.string().transform((value, context) => {
    try {
      return parse(value);
    } catch (error) {
      context.addIssue({ code: 'custom', message: messageOf(error) });
      return z.NEVER;
    }
  });

const common = {
  /**
   * Network of the proxies. `host`: the network of the machine, the fastest path for data. Otherwise `bridge` or the
   * name of a network of the engine, in which the ports of a stream are published.
   */
  network: z.string().min(1).default('host'),
  /**
   * Delivery of files to a proxy. `bind`: a mounted local directory, which allows new targets without a reload.
   * `volume`: through the engine, which may run on another machine. Default: bind for a unix socket, otherwise volume.
   */
  files: z.enum(['bind', 'volume']).optional(),
  /** `uid:gid` of the programs if the daemon runs as root; otherwise they have the daemon's user. */
  user: z
    .string()
    .regex(/^\d+:\d+$/, 'must be uid:gid, in numbers')
    .default('65534:65534'),
  /** Memory limit of a proxy, such as 512MB. */
  memory: text(parseBytes).optional(),
  /** CPU limit of a proxy, such as 1.5. */
  cpus: z.number().positive().optional(),
  /** Restart policy of the engine. SciStream restarts programs and knows more about them, so the default is `no`. */
  restart: z.enum(['no', 'on-failure', 'unless-stopped']).default('no'),
  /** Limit of an image pull, such as 5m. */
  pullTimeout: text(parseDuration).default(300_000),
};

/** Schema of the key `runtimes.docker`. Without host and context the environment decides, as for `docker`. */
export const DockerOptions = z.strictObject({
  ...common,
  /** In the form of DOCKER_HOST: `unix:///path`, `tcp://host:2376`, `ssh://user@host`. */
  host: z.string().min(1).optional(),
  /** Name of a context, as listed by `docker context ls`. */
  context: z.string().min(1).optional(),
  /** PEM files for mutual TLS with a tcp host. */
  tls: z.strictObject({ ca: z.string().min(1), cert: z.string().min(1), key: z.string().min(1) }).optional(),
});

/** Schema of the key `runtimes.dockersock`. */
export const DockersockOptions = z.strictObject({
  ...common,
  /** Path of the socket of a Docker or Podman engine. */
  socket: z.string().startsWith('/', 'must be an absolute path').default('/run/docker.sock'),
});

/** The validated options of `docker`. */
export type DockerOptions = z.output<typeof DockerOptions>;
/** The validated options of `dockersock`. */
export type DockersockOptions = z.output<typeof DockersockOptions>;
/** The options of both runtimes. */
export type EngineOptions = Omit<DockersockOptions, 'socket'>;
