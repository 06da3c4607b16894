import type { GatewaySettings } from '../contracts/gateway.js';
import { LOGGER, token } from '../serving/tokens.js';
import type { DaemonTls } from './listen.js';

/** The keys of the same names in the configuration of `s2ds`. */
export interface DaemonSettings {
  /** `unix:/path`, mode 0600 because every process that can open the socket commands the gateway; or host:port, with `tls`. */
  readonly listen: string;
  readonly tls?: DaemonTls | undefined;
  /** The certificate of the one control server that may send commands; absent: the first control server that calls. */
  readonly s2cs?: { readonly fingerprint: string } | undefined;
  readonly state: string;
}

/** The settings that a running `s2ds` can change. */
export type ReloadedSettings = Pick<DaemonSettings, 'tls' | 's2cs'>;

/** Interfaces and values that the composition root of `s2ds` registers; a class is its own token. */
export const S2DS_TOKENS = {
  Logger: LOGGER,
  Settings: token<GatewaySettings & DaemonSettings>('S2dsSettings'),
  /** Directory of the gateway's state. */
  State: token<string>('S2dsState'),
} as const;
