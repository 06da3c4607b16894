import { availableParallelism } from 'node:os';
import { z } from 'zod';

/** Key `proxies.haproxy` of the configuration. Whether HAProxy accepts the numbers is for its own checker to say. */
export const HaproxyOptions = z.strictObject({
  /** Program, looked up in PATH: of the image where the runtime has images, of the machine otherwise. */
  executable: z.string().min(1).default('haproxy'),
  /** Image with a pinned tag or digest, HAProxy 2.6 or newer, for runtimes that have images. Its entry point is not used. */
  image: z.string().min(1).default('haproxy:3.0.11'),
  /** `nbthread`, 1 to 64. */
  threads: z
    .int()
    .positive()
    .default(() => Math.min(availableParallelism(), 4)),
  /** `tune.bufsize` in bytes. A connection that is blocked holds one such buffer per direction. */
  bufferSize: z.int().positive().default(524_288),
  /**
   * Connections a stream can have at once; fewer where the limit of open files does not allow it. With up to 448 (and few
   * listeners) HAProxy polls by select, which loses nothing where both directions end at the same time; see the template.
   */
  maxConnections: z.int().positive().max(1_000_000).default(448),
  /** Directory of the site whose `haproxy.cfg.njk` is used instead of ours. */
  templates: z.string().min(1).optional(),
});

/** The options, checked. */
export type HaproxyOptions = z.output<typeof HaproxyOptions>;
