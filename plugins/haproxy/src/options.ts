import { z } from 'zod';

/** Key `proxies.haproxy` of the configuration. Whether HAProxy accepts the numbers is for its own checker to say. */
export const HaproxyOptions = z.strictObject({
  /** Program, looked up in PATH: of the image where the runtime has images, of the machine otherwise. */
  executable: z.string().min(1).default('haproxy'),
  /** Image with a pinned tag or digest, HAProxy 2.6 or newer, for runtimes that have images. Its entry point is not used. */
  image: z.string().min(1).default('haproxy:3.0.11'),
  /**
   * `nbthread`, 1 to 64. One thread polls by select, which loses nothing where both directions of a connection end at the
   * same time; more than one poll by epoll, which may, see the template.
   */
  threads: z.int().positive().default(1),
  /** `tune.bufsize` in bytes. A connection that is blocked holds one such buffer per direction. */
  bufferSize: z.int().positive().default(524_288),
  /**
   * Connections a stream can have at once; fewer where the limit of open files does not allow it. For more than 448 (or
   * very many listeners) HAProxy polls by epoll, see `threads`.
   */
  maxConnections: z.int().positive().max(1_000_000).default(448),
  /** Directory of the site whose `haproxy.cfg.njk` is used instead of ours. */
  templates: z.string().min(1).optional(),
});

/** The options, checked. */
export type HaproxyOptions = z.output<typeof HaproxyOptions>;
