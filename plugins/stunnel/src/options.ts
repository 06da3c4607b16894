import { keepaliveOptions } from '@scistream/core';
import { z } from 'zod';

/** An identity of `PSKsecrets`, which ends at the first colon. */
const Identity = z.string().regex(/^[\w.@-]{1,127}$/, 'must be letters, digits and . _ @ -');

const SharedSecret = z.strictObject({
  /** File of lines `identity:key`, mode 0600. Both operators share the key, which has at least 16 bytes. */
  secrets: z.string().min(1),
  /** The line of the file to use; the other side must use the same one. */
  identity: Identity,
});

/** Tunnels of the Python program, whose key is the uid and not secret. Insecure; logs a warning at every start. */
const Compatibility = z.strictObject({ compatibility: z.literal(true) });

/** Schema of the key `proxies.stunnel`. */
export const StunnelOptions = z.strictObject({
  /** Program, searched in PATH. Debian's package stunnel4 installs it under this name too. */
  executable: z.string().min(1).default('stunnel'),
  /**
   * Image with a pinned tag; required for runtimes with images, because there is no official one. It needs sh, grep and
   * timeout. Without systemd support in its stunnel (Alpine) every start takes 5 s longer.
   */
  image: z.string().min(1).optional(),
  /**
   * Maximum number of connections of a stream over all its listeners; further ones are closed. Each is a thread and
   * takes about 0.12 MB. stunnel derives the number from the limit of open files, which is set accordingly if
   * permitted. Below 200 stunnel would allow more connections than files.
   */
  maxConnections: z.int().min(200).max(100_000).default(500),
  /**
   * Also logs why connections failed, for troubleshooting. Off by default: any client could fill the log, and hide the
   * messages of a reload.
   */
  logErrors: z.boolean().default(false),
  /** Encrypts streams without certificates by a pre-shared key; without this option they are rejected. */
  psk: z.union([SharedSecret, Compatibility]).optional(),
  /** Maximum time between two messages of the TLS handshake, s. stunnel cannot limit the whole handshake, or sources. */
  handshakeTimeout: z.int().min(1).max(300).default(5),
  /** TCP keepalive. */
  keepalive: keepaliveOptions,
  /** Directory with a custom `stunnel.conf.njk` that replaces the standard template. */
  templates: z.string().min(1).optional(),
});

/** The validated options. */
export type StunnelOptions = z.output<typeof StunnelOptions>;
