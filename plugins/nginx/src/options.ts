import { z } from 'zod';

/** Key `proxies.nginx` of the configuration. Whether Nginx accepts the numbers is for its own checker to say. */
export const NginxOptions = z.strictObject({
  /** Program, looked up in PATH by runtimes that have no images. */
  executable: z.string().min(1).default('nginx'),
  /** Image with a pinned tag and the stream module, for runtimes that have images. */
  image: z.string().min(1).default('nginx:1.28.0'),
  /**
   * Absolute path of the stream module where it is not built in. By default the one of this machine's distribution, if it
   * is there; none in runtimes with images, because the official image has it built in.
   */
  module: z
    .string()
    .regex(/^\/[\w./+-]+$/, 'an absolute path of letters, digits and _ . / + -')
    .optional(),
  /**
   * `worker_processes` of a stream of TCP, which share its listeners. With every update each may leave an old one behind for
   * as long as connections of it live. Default: one per listener, up to one per core and 4. UDP always has one, because a
   * session must not be dealt out to several.
   */
  workers: z.int().min(1).max(256).optional(),
  /** `proxy_buffer_size` of TCP in bytes. A connection that is blocked holds one such buffer per direction. */
  bufferSize: z.int().positive().default(524_288),
  /** Connections (UDP: sessions) each worker can have at once; more are closed. Fewer where the limit of open files says so. */
  maxConnections: z.int().positive().max(1_000_000).default(1_000),
  /** Silence that ends a UDP session, in the notation of Nginx and of this configuration: `30s`, `2m`, `1h`. */
  udpTimeout: z
    .string()
    .regex(/^[1-9]\d{0,5}(ms|s|m|h|d)$/, 'a whole number and a unit of ms, s, m, h or d, for example 2m')
    .default('2m'),
  /** Directory of the site whose `nginx.conf.njk` is used instead of ours. */
  templates: z.string().min(1).optional(),
});

/** The options, checked. */
export type NginxOptions = z.output<typeof NginxOptions>;
