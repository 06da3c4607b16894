import 'reflect-metadata';
import type { Interfaces } from '@oclif/core';
import { SciStreamError, type Logger } from '@scistream/core';
import type { S2csConfig, S2dsConfig } from '@scistream/core/config';
import {
  BUILT_INS,
  clientTrust,
  createProviders,
  GatewayDaemon,
  decisionsOf,
  LocalGateway,
  findPlugins,
  readKeyPair,
  registerServer,
  requireAuth,
  ControlServer,
  type FoundPlugin,
  type Placing,
  type Policy,
} from '@scistream/core/server';
import { container as root } from 'tsyringe';
import { installedPlugins } from './installed-plugins.js';

/** Installed plugins with their manifests checked; a broken one carries its error. Runs none of their code. */
export function loadedPlugins(config: Interfaces.Config): Promise<readonly FoundPlugin[]> {
  const taken = BUILT_INS.map(({ provider }) => provider);
  return findPlugins(installedPlugins(config), taken);
}

/** The control server of this process, with everything it needs; the one place where its parts are put together. */
export function composeControlServer(
  config: S2csConfig,
  logger: Logger,
  plugins: readonly FoundPlugin[],
): ControlServer {
  const container = root.createChildContainer();
  registerServer(container, { config, logger, plugins });
  return container.resolve(ControlServer);
}

/** A data server daemon and its one gateway, put together as {@link composeControlServer} does. */
export function composeS2ds(config: S2dsConfig, logger: Logger, plugins: readonly FoundPlugin[]): GatewayDaemon {
  const log = logger.child({ gateway: config.name });
  const gateway = new LocalGateway(config, createProviders(plugins, config), log, config.state);
  return new GatewayDaemon(config, gateway, log);
}

/** The decisions of a control server with this configuration, for somebody who has nothing running. */
export function policyOf(config: S2csConfig, plugins: readonly FoundPlugin[]): Policy {
  const providers = createProviders(plugins, config);
  const placing: Placing = async ({ gateway, proxy, runtime }) => {
    const defaults = config.gateways.find(({ name }) => name === gateway);
    return providers.resolve(proxy || (defaults?.proxy ?? ''), runtime || (defaults?.runtime ?? ''));
  };
  return decisionsOf(config, placing);
}

/**
 * Checks what a schema cannot: that everything the configuration names is installed and accepts its options, and that
 * certificate and key can be used.
 * @throws SCI_PROXY_UNKNOWN, SCI_RUNTIME_UNKNOWN, SCI_PLUGIN_*, SCI_CONFIG_INVALID for certificate and key
 */
export async function checkDaemonConfig(
  config: S2csConfig | S2dsConfig,
  plugins: readonly FoundPlugin[],
): Promise<void> {
  const providers = createProviders(plugins, config);
  for (const gateway of 'gateways' in config ? config.gateways : [config]) {
    const { proxy, runtime } = providers.resolve(gateway.proxy, gateway.runtime);
    await providers.proxy(proxy);
    await providers.runtime(runtime);
  }
  // Also those that are not the defaults: any stream may ask for them.
  for (const id of Object.keys(config.proxies)) mustBeId('proxies', id, await providers.proxy(id));
  for (const id of Object.keys(config.runtimes)) mustBeId('runtimes', id, await providers.runtime(id));
  if (config.tls) {
    await readKeyPair(config.tls);
    await clientTrust(config.tls);
  }
  if (!('auth' in config)) return;
  requireAuth(config);
  for (const [i, { use, ...options }] of config.auth.entries())
    await providers.authenticator(use, options, `auth.${i}`);
  await policyOf(config, plugins).load?.();
}

/** Names are found in any letter case, options only under the id itself. @throws SCI_CONFIG_INVALID */
function mustBeId(key: string, name: string, { id }: { readonly id: string }): void {
  if (name === id) return;
  throw new SciStreamError('SCI_CONFIG_INVALID', `${key}.${name} says nothing of any stream: the id is ${id}.`, {
    suggestions: [`Write ${key}.${id}.`],
  });
}
