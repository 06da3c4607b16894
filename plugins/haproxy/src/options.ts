import { keepaliveOptions, parseDuration } from '@scistream/core';
import { z } from 'zod';

/** Schema of the key `proxies.haproxy`. HAProxy itself checks whether it accepts the numbers. */
export const HaproxyOptions = z.strictObject({
  /** Program, searched in PATH of the image or, for runtimes without images, of the machine. */
  executable: z.string().min(1).default('haproxy'),
  /** Image with a pinned tag or digest, HAProxy 2.6 or newer, for runtimes with images. Its entry point is not used. */
  image: z.string().min(1).default('haproxy:3.0.11'),
  /**
   * Maximum number of HAProxy processes per stream, each with one thread. A stream has one per listener up to this
   * number. Default: one per core up to 4; 1 for runtimes with images.
   */
  processes: z.int().min(1).max(256).optional(),
  /** `tune.bufsize` in bytes. A blocked connection holds one such buffer per direction. */
  bufferSize: z.int().positive().default(524_288),
  /**
   * Maximum number of connections of each process, at least 100, which HAProxy needs to start. HAProxy serves a few more.
   * The limit of open files may lower it. Above 448 (or with very many
   * listeners) HAProxy polls by epoll, which may lose data if both directions of a connection end at the same time; see
   * the template.
   */
  maxConnections: z.int().min(100).max(1_000_000).default(448),
  /**
   * Maximum time for the TLS handshake of the other gateway, with HAProxy 3.0 or newer. Older versions have no such limit
   * apart from the time for which clients are held, 35 s.
   */
  handshakeTimeout: z
    .string()
    .default('5s')
    .transform((text) => parseDuration(text)),
  /** TCP keepalive. */
  keepalive: keepaliveOptions,
  /**
   * `tcp-ut`: time after which a connection is reset because its peer does not acknowledge data. A consumer that reads
   * nothing for this time is reset too, although it is alive. Default: the kernel decides, after about 15 minutes.
   */
  userTimeout: z
    .string()
    .transform((text) => parseDuration(text))
    .optional(),
  /** Directory with a custom `haproxy.cfg.njk` that replaces the standard template. */
  templates: z.string().min(1).optional(),
});

/** The validated options. */
export type HaproxyOptions = z.output<typeof HaproxyOptions>;
