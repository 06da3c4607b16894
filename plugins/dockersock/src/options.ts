import { messageOf, parseDuration } from '@scistream/core';
import { z } from 'zod';

const UNITS = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30 } as const;

/** Parses `512MB` or `1GiB` into bytes. Throws a RangeError that says what is expected. */
function parseBytes(text: string): number {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)\s*([KMG]?I?B)$/i.exec(text.trim()) ?? [];
  const factor = UNITS[unit.toUpperCase() as keyof typeof UNITS];
  const bytes = Math.round(Number(number) * factor);
  if (!Number.isSafeInteger(bytes) || bytes <= 0) throw new RangeError(`"${text}" is no size such as 512MB or 1GiB`);
  return bytes;
}

/** A field written as text and parsed; what the parser throws is the issue. */
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
   * `host`: proxies have the network of their machine, and nothing is in the way of the data. Otherwise `bridge` or the
   * name of a network of the engine: the ports of a stream are published there.
   */
  network: z.string().min(1).default('host'),
  /**
   * How files get to a proxy. `bind`: a directory of this machine, mounted; proxies can then be retargeted without a
   * reload. `volume`: sent through the engine, which may run on another machine. Default: bind at a unix socket.
   */
  files: z.enum(['bind', 'volume']).optional(),
  /** `uid:gid` of the programs where the daemon is root; otherwise they have the daemon's own. */
  user: z
    .string()
    .regex(/^\d+:\d+$/, 'must be uid:gid, in numbers')
    .default('65534:65534'),
  /** Memory a proxy may use, such as 512MB. */
  memory: text(parseBytes).optional(),
  /** Processors a proxy may use, such as 1.5. */
  cpus: z.number().positive().optional(),
  /** Whether the engine starts programs again. SciStream does so itself, and knows more about them. */
  restart: z.enum(['no', 'on-failure', 'unless-stopped']).default('no'),
  /** How long an image may take to arrive when it is not on the machine yet, such as 5m. */
  pullTimeout: text(parseDuration).default(300_000),
};

/** Key `runtimes.docker` of the configuration. Without host and context the environment decides, as for `docker`. */
export const DockerOptions = z.strictObject({
  ...common,
  /** As DOCKER_HOST has it: `unix:///path`, `tcp://host:2376`, `ssh://user@host`. */
  host: z.string().min(1).optional(),
  /** Name of a context, as `docker context ls` shows it. */
  context: z.string().min(1).optional(),
  /** Files (PEM) of the certificates for a tcp host. */
  tls: z.strictObject({ ca: z.string().min(1), cert: z.string().min(1), key: z.string().min(1) }).optional(),
});

/** Key `runtimes.dockersock`. */
export const DockersockOptions = z.strictObject({
  ...common,
  /** Path of the socket of a Docker or Podman engine. */
  socket: z.string().startsWith('/', 'must be an absolute path').default('/run/docker.sock'),
});

/** The options of `docker`, checked. */
export type DockerOptions = z.output<typeof DockerOptions>;
/** The options of `dockersock`, checked. */
export type DockersockOptions = z.output<typeof DockersockOptions>;
/** What both have. */
export type EngineOptions = Omit<DockersockOptions, 'socket'>;
