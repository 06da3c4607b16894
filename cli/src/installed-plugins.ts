import type { Interfaces } from '@oclif/core';
import type { PluginSource } from '@scistream/core/server';

/** An installed SciStream plugin; `manifest` comes from its package.json, unchecked. */
export interface InstalledPlugin extends PluginSource {
  readonly manifest: unknown;
}

/** The bundled, installed and linked plugins: bundled ones first, then by name. Runs no plugin code. */
export function installedPlugins(config: Interfaces.Config): readonly InstalledPlugin[] {
  const found = config.getPluginsList().flatMap(({ name, version, root, type, pjson }): readonly InstalledPlugin[] => {
    const manifest: unknown = Reflect.get(pjson, 'scistream');
    if (manifest === undefined) return [];
    return [{ name, version, root, manifest, type: type === 'user' || type === 'link' ? type : 'core' }];
  });
  // oclif lists them in the order in which their files were read.
  const rank = ({ type, name }: InstalledPlugin): string => `${type === 'core' ? 0 : 1} ${name}`;
  return found.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1));
}
