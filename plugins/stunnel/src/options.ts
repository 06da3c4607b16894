import { z } from 'zod';

/** What `PSKsecrets` takes for a name: it ends at the first colon. */
const Identity = z.string().regex(/^[\w.@-]{1,127}$/, 'must be letters, digits and . _ @ -');

const SharedSecret = z.strictObject({
  /** File of lines `identity:key`, 0600, with a key of 16 bytes or more that the operators of both gateways share. */
  secrets: z.string().min(1),
  /** The line of the file to use; the other side must use the same. */
  identity: Identity,
});

/** Tunnels of the Python program: the key is the uid, which is no secret. Insecure, and a warning at every start. */
const Compatibility = z.strictObject({ compatibility: z.literal(true) });

/** Key `proxies.stunnel` of the configuration. */
export const StunnelOptions = z.strictObject({
  /** Program, looked up in PATH. Debian's package stunnel4 installs it under this name too. */
  executable: z.string().min(1).default('stunnel'),
  /**
   * Image with a pinned tag, for runtimes that have images; needed there, because stunnel has no official one. It must
   * have sh, grep and timeout; without systemd support in its stunnel (Alpine) every start takes 5 s longer.
   */
  image: z.string().min(1).optional(),
  /**
   * Connections a stream can have at once, over all its listeners; further ones are closed. Each is a thread and takes
   * about 0.12 MB. stunnel derives the number from the limit of open files, which is set so (where it may be raised so
   * far), and below 200 would have more connections than files for them.
   */
  maxConnections: z.int().min(200).max(100_000).default(500),
  /**
   * Also writes down why a connection failed, to find a fault. Not otherwise: whoever can connect could fill the log, and
   * hide in it whether new targets were taken.
   */
  logErrors: z.boolean().default(false),
  /** Encrypts streams that have no certificates of their own; without it they are refused. */
  psk: z.union([SharedSecret, Compatibility]).optional(),
  /** Directory of the site whose `stunnel.conf.njk` is used instead of ours. */
  templates: z.string().min(1).optional(),
});

/** The options, checked. */
export type StunnelOptions = z.output<typeof StunnelOptions>;
