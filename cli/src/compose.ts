import 'reflect-metadata';
import type { Interfaces } from '@oclif/core';
import type { Logger } from '@scistream/core';
import type { S2csConfig, S2dsConfig } from '@scistream/core/config';
import {
  CONTROL_SERVER,
  createProviders,
  GATEWAY_DAEMON,
  listPlugins,
  registerS2ds,
  registerServer,
  type Daemon,
  type FoundPlugin,
} from '@scistream/core/server';
import { container as root } from 'tsyringe';
import { installedPlugins } from './installed-plugins.js';
import { integrityError } from './plugin-integrity.js';

/**
 * The installed plugins with checked manifests; a broken plugin carries its error. If the files of installed plugins have
 * changed, all of them carry that error. Runs no plugin code.
 */
export async function loadedPlugins(config: Interfaces.Config): Promise<readonly FoundPlugin[]> {
  const found = await listPlugins(installedPlugins(config));
  if (found.every(({ type }) => type === 'core')) return found;
  const error = await integrityError(config.dataDir);
  return error ? found.map((plugin) => (plugin.type === 'core' ? plugin : { ...plugin, error })) : found;
}

/** Composes the control server of this process: the composition root of `s2cs`. */
export function composeControlServer(
  config: S2csConfig,
  logger: Logger,
  plugins: readonly FoundPlugin[],
): Daemon<S2csConfig> {
  const container = root.createChildContainer();
  registerServer(container, { config, logger, plugins });
  return container.resolve(CONTROL_SERVER);
}

/** The program `s2ds` of this process, composed as {@link composeControlServer} does. */
export function composeS2ds(config: S2dsConfig, logger: Logger, plugins: readonly FoundPlugin[]): Daemon<S2dsConfig> {
  const container = root.createChildContainer();
  registerS2ds(container, { config, logger, providers: createProviders(plugins, config) });
  return container.resolve(GATEWAY_DAEMON);
}
