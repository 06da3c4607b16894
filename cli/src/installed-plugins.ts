import type { Interfaces } from '@oclif/core';
import type { PluginSource } from '@scistream/core/server';

/** A SciStream plugin as the host found it; `manifest` is what its package.json says, unchecked. */
export interface InstalledPlugin extends PluginSource {
  readonly manifest: unknown;
}

/** The plugins that came with SciStream, were installed, or are linked. Runs none of their code. */
export function installedPlugins(config: Interfaces.Config): readonly InstalledPlugin[] {
  return config.getPluginsList().flatMap(({ name, version, root, type, pjson }) => {
    const manifest: unknown = Reflect.get(pjson, 'scistream');
    if (manifest === undefined) return [];
    return [{ name, version, root, manifest, type: type === 'user' || type === 'link' ? type : 'core' }];
  });
}
