import { Args } from '@oclif/core';
import { quote, SciStreamError } from '@scistream/core';
import { BaseCommand } from '../../base-command.js';
import { installedPlugins, type InstalledPlugin } from '../../installed-plugins.js';

export default class PluginInstall extends BaseCommand {
  static override summary = 'install a plugin';
  static override args = {
    plugin: Args.string({ required: true, description: '.tgz file, folder, URL, or complete name of an npm package' }),
  };
  static override examples = [
    '<%= config.bin %> <%= command.id %> ./examples/third-party-plugin',
    '<%= config.bin %> <%= command.id %> ./scistream-plugin-forward-1.0.0.tgz',
  ];

  async run(): Promise<object> {
    const { args } = await this.parse(PluginInstall);
    const { PluginHome } = await import('../../plugin-home.js');
    const { tryPlugin } = await import('../../plugin-apart.js');
    const { listPlugins, readPlugin } = await import('@scistream/core/server');
    const others = installedPlugins(this.config);
    const bundled = bundledPlugin(args.plugin, others);
    if (bundled) {
      this.log(`${bundled.name} ${bundled.version} is part of SciStream: nothing to install`);
      return await summaryOf(bundled.root);
    }
    const home = new PluginHome(this.config.dataDir, this.config.root);
    this.progress.busy(`installing ${args.plugin}`);
    const name = await home.install(args.plugin, async (root, complete) => {
      const plugin = await readPlugin(root);
      const rest = others.filter((other) => other.name !== plugin.name);
      const all = await listPlugins([...rest, { ...plugin, type: 'link' }]);
      const found = all.find(({ root: at }) => at === root);
      const error = found && (complete ? (await tryPlugin(found)).error : found.error);
      if (error) throw error;
    });
    const { version, provides } = await summaryOf(`${this.config.dataDir}/node_modules/${name}`);
    this.progress.idle();
    this.log(`installed ${name} ${version}: ${provides.map(({ kind, id }) => `${kind} ${id}`).join(', ')}`);
    return { name, version, provides };
  }
}

async function summaryOf(root: string) {
  const { readPlugin } = await import('@scistream/core/server');
  const { name, version, manifest } = await readPlugin(root);
  return { name, version, provides: manifest.provides.map(({ kind, id }) => ({ kind, id })) };
}

/**
 * The plugin of SciStream that a name means: `haproxy` or `@scistream/plugin-haproxy`. These names are never looked up in a
 * registry, and neither is a short name: anyone can register it.
 * @returns undefined for a file, folder or URL, and for the complete name of another package
 * @throws SCI_PLUGIN_NOT_FOUND
 */
function bundledPlugin(what: string, plugins: readonly InstalledPlugin[]): InstalledPlugin | undefined {
  const isOurs = what.startsWith('@scistream/');
  if (!isOurs && !/^[\w.-]+(@[^/:]*)?$/.test(what)) return undefined;
  if (what.endsWith('.tgz') || what.startsWith('.') || /^scistream-plugin-/.test(what)) return undefined;
  const name = what.replace(/(?!^)@.*$/, '');
  const found = plugins.find(
    (plugin) => plugin.type === 'core' && [name, `@scistream/plugin-${name}`].includes(plugin.name),
  );
  if (found) return found;
  throw new SciStreamError('SCI_PLUGIN_NOT_FOUND', `SciStream has no plugin ${quote(what)}.`, {
    suggestions: [
      'scistream plugin ls',
      'For another package, give its file, folder or URL, or its complete name: @SCOPE/NAME or scistream-plugin-NAME',
    ],
  });
}
