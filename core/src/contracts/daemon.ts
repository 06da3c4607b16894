/** A daemon that listens. */
export interface Listening {
  /** Where it listens: `host:port`, or `unix:` and a path. */
  readonly address: string;
  /** Fingerprint of the certificate: `sha256:` and 64 hexadecimal digits. Absent: no TLS, or not reported. */
  readonly fingerprint?: string;
}

/** A program that starts once and stops once. */
export interface Daemon<Config> {
  /** Recovers the streams of the previous process and listens. */
  start(): Promise<Listening>;
  /**
   * Stops the daemon. Idempotent.
   * @param options.release True to release every stream first. Otherwise the streams keep running.
   */
  stop(options?: { readonly release?: boolean }): Promise<void>;
  /** Checks that the daemon can work. Called periodically between `start` and `stop`. @throws SCI_STATE_WRITE */
  check(): Promise<void>;
  /**
   * Applies a changed configuration, all of it or nothing.
   * @returns the fingerprint of the certificate that is now in use, as in {@link Listening}
   * @throws SCI_CONFIG_INVALID and the codes of `start`
   */
  reload(config: Config): Promise<string | undefined>;
}
