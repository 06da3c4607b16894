import { Args } from '@oclif/core';
import { quote, SciStreamError } from '@scistream/core';
import { BaseCommand } from '../../base-command.js';
import { installedPlugins } from '../../installed-plugins.js';

export default class PluginUninstall extends BaseCommand {
  static override summary = 'remove an installed plugin';
  static override args = { plugin: Args.string({ required: true, description: 'name of the package' }) };
  static override examples = ['<%= config.bin %> <%= command.id %> scistream-plugin-forward'];

  async run(): Promise<object> {
    const { args } = await this.parse(PluginUninstall);
    const { PluginHome } = await import('../../plugin-home.js');
    const plugin = installedPlugins(this.config).find(({ name }) => name === args.plugin);
    if (plugin?.type === 'core') {
      throw new SciStreamError('SCI_USAGE', `Plugin ${quote(args.plugin)} is a part of SciStream and stays.`, {
        suggestions: ['Name the plugins to be used under plugins in the configuration of the control server.'],
      });
    }
    this.progress.busy(`removing ${args.plugin}`);
    await new PluginHome(this.config.dataDir, this.config.root).uninstall(args.plugin);
    this.progress.idle();
    this.log(`${args.plugin} is removed`);
    return { name: args.plugin, removed: true };
  }
}
