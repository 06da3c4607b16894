import type { InjectionToken } from 'tsyringe';
import type { Logger } from '../../contracts/logger.js';
import type { Policy } from '../../contracts/policy.js';
import type { StreamStore } from '../../contracts/stream-store.js';
import type { Providers } from '../../plugins/index.js';
import type { Resolver } from '../../policy/name-lookups.js';
import type { ControlServerSettings, Limits, OpenAuthenticator, Prepare } from './settings.js';

type Token<T> = InjectionToken<T> & symbol;

const token = <T>(name: string): Token<T> => Symbol.for(`scistream.${name}`);

/**
 * Interfaces and values that the composition root registers and may replace; a class is its own token. Global symbols, so
 * that two copies of this package agree.
 */
export const TOKENS = {
  Logger: token<Logger>('Logger'),
  Limits: token<Limits>('Limits'),
  Settings: token<ControlServerSettings>('Settings'),
  StreamStore: token<StreamStore>('StreamStore'),
  Policy: token<Policy>('Policy'),
  /** Resolves the host names of targets where the control server decides about their addresses. */
  Resolver: token<Resolver>('Resolver'),
  Providers: token<Providers>('Providers'),
  /** Opens the authenticators when the server starts, because they may come from plugins. */
  Authenticator: token<() => Promise<OpenAuthenticator>>('Authenticator'),
  /** Prepares the parts of a new configuration that a running control server can adopt. */
  Prepare: token<Prepare>('Prepare'),
} as const;
