import type { Policy } from '../../contracts/policy.js';
import type { StreamStore } from '../../contracts/stream-store.js';
import { Providers } from '../../plugins/index.js';
import type { Resolver } from '../../policy/name-lookups.js';
import { LOGGER, token } from '../../serving/tokens.js';
import type { OwnAddresses } from './own-addresses.js';
import type { ControlServerSettings, Limits, OpenAuthenticator, Prepare } from './settings.js';

/**
 * Interfaces and values that the composition root registers and may replace; a class is its own token.
 */
export const TOKENS = {
  Logger: LOGGER,
  Limits: token<Limits>('Limits'),
  Settings: token<ControlServerSettings>('Settings'),
  StreamStore: token<StreamStore>('StreamStore'),
  Policy: token<Policy>('Policy'),
  OwnAddresses: token<OwnAddresses>('OwnAddresses'),
  /** Resolves the host names of targets, for rules about their addresses. */
  Resolver: token<Resolver>('Resolver'),
  Providers,
  /** Opens the authenticators when the server starts, because they may come from plugins. */
  Authenticator: token<() => Promise<OpenAuthenticator>>('Authenticator'),
  /** Prepares the parts of a new configuration that a running control server can apply. */
  Prepare: token<Prepare>('Prepare'),
} as const;
