import type { PluginConfig } from './offers.js';

const NONE: PluginConfig = { proxies: {}, runtimes: {}, plugins: [] };

/**
 * The options of proxies and runtimes in a daemon's configuration; empty without a file or for a user's file.
 * @throws the errors of `loadConfig` of @scistream/core/config
 */
export async function pluginConfig(file: string | undefined): Promise<PluginConfig> {
  if (file === undefined) return NONE;
  const { configKind, loadConfig, readDocument } = await import('@scistream/core/config');
  const kind = configKind((await readDocument(file)).document);
  return kind === 's2cs' || kind === 's2ds' ? (await loadConfig(kind, { file })).config : NONE;
}
