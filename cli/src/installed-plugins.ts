import type { Interfaces } from '@oclif/core';
import type { PluginSource } from '@scistream/core/server';

/** An installed SciStream plugin; `manifest` comes from its package.json, unchecked. */
export interface InstalledPlugin extends PluginSource {
  readonly manifest: unknown;
}

/** The bundled, installed and linked plugins. Runs no plugin code. */
export function installedPlugins(config: Interfaces.Config): readonly InstalledPlugin[] {
  return config.getPluginsList().flatMap(({ name, version, root, type, pjson }) => {
    const manifest: unknown = Reflect.get(pjson, 'scistream');
    if (manifest === undefined) return [];
    return [{ name, version, root, manifest, type: type === 'user' || type === 'link' ? type : 'core' }];
  });
}
