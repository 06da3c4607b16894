import type { SecureVersion } from 'node:tls';
import type { S2csConfig } from '../../config/index.js';
import type { Address } from '../../contracts/address.js';
import type { Authenticator } from '../../contracts/authenticator.js';
import type { ClientTrust } from '../../serving/client-certificates.js';

/** What a control server grants at most: key `limits` of its configuration. To be looked up anew each time: it may change. */
export interface Limits {
  /** Streams that exist at once. */
  readonly streams: number;
  /** Of those, requests that wait for HELLO. */
  readonly waiting: number;
  /** Of those, of one identity. Where nobody has to say who it is, all are one, and only `waiting` counts. */
  readonly waitingPerIdentity: number;
  /** Listeners of one stream. */
  readonly connections: number;
  readonly helloTimeoutMs: number;
  readonly lifetimeMs: number;
}

/** The keys of the same names below `limits` in the configuration; times in ms. */
export interface FloodLimits {
  readonly requestsPerSecond: number;
  readonly strangerRequestsPerSecond: number;
  readonly strangerTimeoutMs: number;
  readonly clients: number;
  readonly clientsPerAddress: number;
}

/** The keys of the same names below `limits` in the configuration. */
export interface WatchLimits {
  readonly watchesPerIdentity: number;
}

/** The keys of the same names in the configuration. */
export interface ControlServerSettings {
  readonly facility: string;
  readonly listen: Address;
  /** PEM files; absent: a self-signed certificate in the state directory. */
  readonly tls?: ({ readonly cert: string; readonly key: string } & ClientTrust) | undefined;
  /** The least version of TLS. */
  readonly minTls: SecureVersion;
  /** Plain text instead of TLS. */
  readonly insecure: boolean;
  readonly state: string;
  readonly limits: Limits & FloodLimits & WatchLimits;
}

/** An authenticator and what ends the plugins it came from. */
export interface OpenAuthenticator {
  readonly authenticator: Authenticator;
  readonly close: () => Promise<void>;
}

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
