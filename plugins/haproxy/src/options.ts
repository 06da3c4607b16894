import { z } from 'zod';

/** Key `proxies.haproxy` of the configuration. Whether HAProxy accepts the numbers is for its own checker to say. */
export const HaproxyOptions = z.strictObject({
  /** Program, looked up in PATH: of the image where the runtime has images, of the machine otherwise. */
  executable: z.string().min(1).default('haproxy'),
  /** Image with a pinned tag or digest, HAProxy 2.6 or newer, for runtimes that have images. Its entry point is not used. */
  image: z.string().min(1).default('haproxy:3.0.11'),
  /**
   * HAProxy processes per stream at most, each with one thread; a stream gets one per listener up to this number. Default:
   * one per core up to 4, and 1 where the runtime uses images.
   */
  processes: z.int().min(1).max(256).optional(),
  /** `tune.bufsize` in bytes. A connection that is blocked holds one such buffer per direction. */
  bufferSize: z.int().positive().default(524_288),
  /**
   * Connections each process can have at once; fewer where the limit of open files does not allow it. For more than 448
   * (or very many listeners) HAProxy polls by epoll, which may lose data where both directions of a connection end at the
   * same time, see the template.
   */
  maxConnections: z.int().positive().max(1_000_000).default(448),
  /** Directory of the site whose `haproxy.cfg.njk` is used instead of ours. */
  templates: z.string().min(1).optional(),
});

/** The options, checked. */
export type HaproxyOptions = z.output<typeof HaproxyOptions>;
