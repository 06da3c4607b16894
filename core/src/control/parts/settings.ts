import type { SecureVersion } from 'node:tls';
import type { S2csConfig } from '../../config/index.js';
import type { Address } from '../../contracts/address.js';
import type { Authenticator } from '../../contracts/authenticator.js';
import type { ClientTrust } from '../../serving/client-certificates.js';

/** The key `limits` of the configuration of a control server. Read it each time: it may change on reload. */
export interface Limits {
  /** Live streams. */
  readonly streams: number;
  /** Live streams that wait for HELLO. */
  readonly waiting: number;
  /** Live streams of one identity that wait for HELLO. Not applied where authentication is off. */
  readonly waitingPerIdentity: number;
  /** Live streams of one identity. Not applied where authentication is off. */
  readonly streamsPerIdentity: number;
  /**
   * Listeners of all live streams of one identity. Default: half of the ports of all gateways, and at least 16. Not applied where
   * authentication is off.
   */
  readonly connectionsPerIdentity?: number | undefined;
  /** Listeners of one stream. */
  readonly connections: number;
  readonly helloTimeoutMs: number;
  readonly lifetimeMs: number;
}

/** Keys of the same names below `limits` in the configuration. Times in ms. */
export interface FloodLimits {
  readonly requestsPerSecond: number;
  readonly strangerRequestsPerSecond: number;
  readonly strangerTimeoutMs: number;
  readonly clients: number;
  readonly clientsPerAddress: number;
}

/** Keys of the same names below `limits` in the configuration. */
export interface PaceLimits {
  /** REQs of one identity. Not applied where authentication is off. */
  readonly streamsPerMinute: number;
  /** UPDATEs of one identity. Not applied where authentication is off. */
  readonly updatesPerMinute: number;
  /** UPDATEs of one stream. */
  readonly updatesPerSecond: number;
}

/** Keys of the same names below `limits` in the configuration. */
export interface WatchLimits {
  readonly watchesPerIdentity: number;
}

/** Keys of the configuration. */
export interface ControlServerSettings {
  readonly facility: string;
  readonly listen: Address;
  /** PEM files; absent: a self-signed certificate in the state directory. */
  readonly tls?: ({ readonly cert: string; readonly key: string } & ClientTrust) | undefined;
  /** WAN addresses of the gateways, for the self-signed certificate. */
  readonly wan: readonly string[];
  /** The lowest accepted version of TLS. */
  readonly minTls: SecureVersion;
  /** Plain text instead of TLS. */
  readonly insecure: boolean;
  readonly state: string;
  /** Where the metrics are served; absent: nowhere. */
  readonly metrics?: Address | undefined;
  readonly limits: Limits & FloodLimits & WatchLimits & PaceLimits;
}

/** An authenticator, and a function that closes the plugins behind it. */
export interface OpenAuthenticator {
  readonly authenticator: Authenticator;
  readonly close: () => Promise<void>;
}

/** The parts of a new configuration that a running control server can apply: read and checked, but not applied yet. */
export interface Prepared {
  readonly authenticator: OpenAuthenticator;
  /** Applies policy and limits. Cannot fail. */
  commit(): void;
  /** Closes what was opened, instead of {@link commit}. */
  discard(): Promise<void>;
}

/** Prepares a new configuration. @throws What is wrong with the configuration or with a file that it names */
export type Prepare = (config: S2csConfig) => Promise<Prepared>;
