import type { S2csConfig } from '../config/index.js';
import type { OpenAuthenticator } from './in-force.js';

/** What of a configuration can be taken over by a running control server: read, checked and ready, but not in force. */
export interface Prepared {
  readonly authenticator: OpenAuthenticator;
  /** Puts policy and limits in force. Cannot fail. */
  commit(): void;
  /** Instead of {@link commit}. */
  discard(): Promise<void>;
}

/** @throws what is wrong with the configuration, or with a file it names */
export type Prepare = (config: S2csConfig) => Promise<Prepared>;
