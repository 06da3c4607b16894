import { Args } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { installedPlugins } from '../../installed-plugins.js';

export default class PluginInstall extends BaseCommand {
  static override summary = 'install a plugin';
  static override args = {
    plugin: Args.string({ required: true, description: 'npm package, folder, .tgz file or URL' }),
  };
  static override examples = [
    '<%= config.bin %> <%= command.id %> scistream-plugin-forward',
    '<%= config.bin %> <%= command.id %> scistream-plugin-forward@1.2.0',
    '<%= config.bin %> <%= command.id %> ./scistream-plugin-forward-1.0.0.tgz',
  ];

  async run(): Promise<object> {
    const { args } = await this.parse(PluginInstall);
    const { PluginHome } = await import('../../plugin-home.js');
    const { listPlugins, readPlugin } = await import('@scistream/core/server');
    const home = new PluginHome(this.config.dataDir, this.config.root);
    this.progress.busy(`installing ${args.plugin}`);
    const others = installedPlugins(this.config);
    const name = await home.install(args.plugin, async (root) => {
      const plugin = await readPlugin(root);
      const rest = others.filter((other) => other.name !== plugin.name);
      const found = await listPlugins([...rest, { ...plugin, type: 'link' }]);
      const error = found.find(({ root: at }) => at === root)?.error;
      if (error) throw error;
    });
    const { version, manifest } = await readPlugin(`${this.config.dataDir}/node_modules/${name}`);
    const provides = manifest.provides.map(({ kind, id }) => ({ kind, id }));
    this.progress.idle();
    this.log(`installed ${name} ${version}: ${provides.map(({ kind, id }) => `${kind} ${id}`).join(', ')}`);
    return { name, version, provides };
  }
}
