import type { InjectionToken } from 'tsyringe';
import type { GatewayPool } from '../data/gateway-pool.js';
import type { Logger } from '../logger.js';
import type { Policy } from '../policy.js';
import type { Resolver } from '../policy/name-lookups.js';
import type { Providers } from '../plugins/index.js';
import type { StreamStore } from '../stream-store.js';
import type { ControlServer, ControlServerSettings } from './control-server.js';
import type { OpenAuthenticator } from './in-force.js';
import type { Prepare } from './prepare.js';
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
  /** Of the names of targets, where the control server judges what they mean. */
  Resolver: token<Resolver>('Resolver'),
  Providers: token<Providers>('Providers'),
  Gateways: token<GatewayPool>('Gateways'),
  /** Made when the server starts, because authenticators may come from plugins. */
  Authenticator: token<() => Promise<OpenAuthenticator>>('Authenticator'),
  /** Makes ready what a running control server can take over of a new configuration. */
  Prepare: token<Prepare>('Prepare'),
  StreamController: token<StreamController>('StreamController'),
  ServiceParts: token<ServiceParts>('ServiceParts'),
  ControlServerSettings: token<ControlServerSettings>('ControlServerSettings'),
  ControlServer: token<ControlServer>('ControlServer'),
} as const;
