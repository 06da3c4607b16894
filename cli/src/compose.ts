import 'reflect-metadata';
import type { Interfaces } from '@oclif/core';
import type { Logger } from '@scistream/core';
import type { S2csConfig } from '@scistream/core/config';
import {
  BUILT_INS,
  findPlugins,
  registerServer,
  TOKENS,
  type ControlServer,
  type FoundPlugin,
} from '@scistream/core/server';
import { pino } from 'pino';
import { container as root } from 'tsyringe';
import { installedPlugins } from './installed-plugins.js';

/** Installed plugins with their manifests checked; a broken one carries its error. Runs none of their code. */
export function loadedPlugins(config: Interfaces.Config): Promise<readonly FoundPlugin[]> {
  const taken = BUILT_INS.map(({ provider }) => provider);
  return findPlugins(installedPlugins(config), taken);
}

/** JSON lines on stderr: warnings with `quiet`, everything with `verbose`. */
export function createLogger({ quiet, verbose }: { readonly quiet: boolean; readonly verbose: boolean }): Logger {
  const level = quiet ? 'warn' : verbose ? 'debug' : 'info';
  return pino({ level }, pino.destination({ dest: 2, sync: true }));
}

/** The control server of this process, with everything it needs; the one place where its parts are put together. */
export function composeControlServer(
  config: S2csConfig,
  logger: Logger,
  plugins: readonly FoundPlugin[],
): ControlServer {
  const container = root.createChildContainer();
  registerServer(container, { config, logger, plugins });
  return container.resolve(TOKENS.ControlServer);
}
