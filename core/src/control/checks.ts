import type { S2csConfig, S2dsConfig } from '../config/index.js';
import { SciStreamError } from '../contracts/errors.js';
import type { Policy } from '../contracts/policy.js';
import { formatPorts } from '../contracts/port-allocator.js';
import { proxyName } from '../contracts/stream.js';
import type { FoundPlugin } from '../plugins/index.js';
import { Refusal } from '../policy/refusal.js';
import type { Placing } from '../policy/rules-policy.js';
import { readKeyPair } from '../serving/certificate.js';
import { clientTrust } from '../serving/client-certificates.js';
import { createProviders, decisionsOf, requireAuth } from './compose.js';
import { OwnAddresses } from './parts/own-addresses.js';

/**
 * Checks what the schema of a configuration cannot: that all named plugins are installed and accept their options, and
 * that certificate, key and policy are usable.
 * @throws SCI_PROXY_UNKNOWN, SCI_RUNTIME_UNKNOWN, SCI_PLUGIN_*, SCI_CONFIG_INVALID for certificate, key and policy
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
  // Also non-default plugins: any stream may request them.
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
  await loadPolicy(config, plugins);
}

/**
 * Loads the policy of a control server with this configuration, without running the server.
 * @returns its check. Unlike those that callers see, its refusals include the details for operators.
 * @throws SCI_CONFIG_INVALID
 */
export async function loadPolicy(config: S2csConfig, plugins: readonly FoundPlugin[]): Promise<Policy['check']> {
  const providers = createProviders(plugins, config);
  const placing: Placing = async ({ gateway, proxy, runtime, spec }) => {
    const defaults = config.gateways.find(({ name }) => name === gateway);
    const name = proxyName({ proxy, transport: spec.transport }, defaults?.proxy ?? '');
    return providers.resolve(name, defaults?.runtime ?? '', runtime);
  };
  const described = config.gateways.map((gateway) => ({ ...gateway, ports: formatPorts(gateway.ports) }));
  const policy = decisionsOf(config, placing, new OwnAddresses(config, () => described));
  await policy.load?.();
  return (identity, action) =>
    policy.check(identity, action).catch((error: unknown) => {
      throw error instanceof Refusal ? error.forOperator() : error;
    });
}

/** Names are looked up in any letter case, options only by the exact id. @throws SCI_CONFIG_INVALID */
function mustBeId(key: string, name: string, { id }: { readonly id: string }): void {
  if (name === id) return;
  throw new SciStreamError('SCI_CONFIG_INVALID', `${key}.${name} has no effect: the id is ${id}.`, {
    suggestions: [`Rename the key to ${key}.${id}.`],
  });
}
