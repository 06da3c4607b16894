import type { DependencyContainer, InjectionToken } from 'tsyringe';
import type { Daemon } from '../contracts/daemon.js';
import type { GatewaySettings } from '../contracts/gateway.js';
import type { Logger } from '../contracts/logger.js';
import { Providers } from '../plugins/index.js';
import { GatewayDaemon } from './daemon.js';
import { LocalGateway } from './local-gateway.js';
import { S2DS_TOKENS, type DaemonSettings, type ReloadedSettings } from './tokens.js';

/** The parts of the program `s2ds` that come from the process around it. */
export interface S2dsParts {
  readonly config: GatewaySettings & DaemonSettings;
  readonly logger: Logger;
  readonly providers: Providers;
}

/** The program `s2ds`, as {@link registerS2ds} registers it. */
export const GATEWAY_DAEMON: InjectionToken<Daemon<ReloadedSettings>> = GatewayDaemon;

/**
 * Registers the program `s2ds` on a container. Resolve `GATEWAY_DAEMON` from it. Only for composition roots: one per process, on a
 * child container of its own.
 */
export function registerS2ds(container: DependencyContainer, { config, logger, providers }: S2dsParts): void {
  container.register(S2DS_TOKENS.Settings, { useValue: config });
  container.register(S2DS_TOKENS.State, { useValue: config.state });
  container.register(S2DS_TOKENS.Logger, { useValue: logger.child({ gateway: config.name }) });
  container.register(Providers, { useValue: providers });
  container.registerSingleton(LocalGateway);
  container.registerSingleton(GatewayDaemon);
}
