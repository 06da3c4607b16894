import type { InjectionToken } from 'tsyringe';
import type { Authenticator } from '../authenticator.js';
import type { GatewayPool } from '../data/gateway-pool.js';
import type { Logger } from '../logger.js';
import type { Policy } from '../policy.js';
import type { Resolver } from '../policy/rules-policy.js';
import type { PluginHost } from '../plugins/host.js';
import type { Providers } from '../plugins/index.js';
import type { StreamStore } from '../stream-store.js';
import type { ControlServer, ControlServerSettings } from './control-server.js';
import type { ServiceParts } from './services.js';
import type { Limits, StreamController } from './stream-controller.js';

type Token<T> = InjectionToken<T> & symbol;

const token = <T>(name: string): Token<T> => Symbol.for(`scistream.${name}`);

/** What the composition root can register and replace. Global symbols, so that two copies of this package agree. */
export const TOKENS = {
  Logger: token<Logger>('Logger'),
  Limits: token<Limits>('Limits'),
  StreamStore: token<StreamStore>('StreamStore'),
  Policy: token<Policy>('Policy'),
  /** Of the names of targets, where there are rules. */
  Resolver: token<Resolver>('Resolver'),
  Providers: token<Providers>('Providers'),
  /** Of the authenticators. */
  PluginHost: token<PluginHost>('PluginHost'),
  Gateways: token<GatewayPool>('Gateways'),
  /** Made when the server starts, because authenticators may come from plugins. */
  Authenticator: token<() => Promise<Authenticator>>('Authenticator'),
  StreamController: token<StreamController>('StreamController'),
  ServiceParts: token<ServiceParts>('ServiceParts'),
  ControlServerSettings: token<ControlServerSettings>('ControlServerSettings'),
  ControlServer: token<ControlServer>('ControlServer'),
} as const;
