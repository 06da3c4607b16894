import { keepaliveOptions } from '@scistream/core';
import { z } from 'zod';

/** Schema of the key `proxies.nginx`. Nginx itself checks whether it accepts the numbers. */
export const NginxOptions = z.strictObject({
  /** Program, searched in PATH by runtimes without images. */
  executable: z.string().min(1).default('nginx'),
  /** Image with a pinned tag and the stream module, for runtimes with images. */
  image: z.string().min(1).default('nginx:1.28.0'),
  /**
   * Absolute path of the stream module if it is not built in. Default: the path of the local distribution, if the file
   * exists; none for runtimes with images, because the official image has it built in.
   */
  module: z
    .string()
    .regex(/^\/[\w./+-]+$/, 'an absolute path of letters, digits and _ . / + -')
    .optional(),
  /**
   * `worker_processes` of a TCP stream; workers share its listeners. With every update each may leave an old worker
   * behind until the connections of that worker end. Default: one per listener, up to one per core and 4. UDP always
   * has one, because a session must not be split between workers.
   */
  workers: z.int().min(1).max(256).optional(),
  /** `proxy_buffer_size` of TCP in bytes. A blocked connection holds one such buffer per direction. */
  bufferSize: z.int().positive().default(524_288),
  /**
   * Maximum number of connections (UDP: sessions) of each worker; further ones are closed. The limit of open files may
   * lower it.
   */
  maxConnections: z.int().positive().max(1_000_000).default(1_000),
  /**
   * Maximum number of old workers of a TCP stream, which serve connections from before an update. Each takes about 8 MB.
   * While there are as many, updates with other targets are rejected.
   */
  oldWorkers: z.int().positive().max(10_000).default(32),
  /** Idle time that ends a UDP session, in the notation of Nginx and of this configuration: `30s`, `2m`, `1h`. */
  udpTimeout: z
    .string()
    .regex(/^[1-9]\d{0,5}(ms|s|m|h|d)$/, 'a whole number and a unit of ms, s, m, h or d, for example 2m')
    .default('2m'),
  /** Maximum time between two messages of the TLS handshake of the other gateway, in the same notation. */
  handshakeTimeout: z
    .string()
    .regex(/^[1-9]\d{0,5}(ms|s|m)$/, 'a whole number and a unit of ms, s or m, for example 5s')
    .default('5s'),
  /** TCP keepalive of accepted connections. Connections to targets use the times of the kernel. */
  keepalive: keepaliveOptions,
  /** Directory with a custom `nginx.conf.njk` that replaces the standard template. */
  templates: z.string().min(1).optional(),
});

/** The validated options. */
export type NginxOptions = z.output<typeof NginxOptions>;
