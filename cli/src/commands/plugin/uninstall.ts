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
      throw new SciStreamError(
        'SCI_USAGE',
        `Plugin ${quote(args.plugin)} is part of SciStream and cannot be removed.`,
        {
          suggestions: [
            'To disable it, list only the wanted plugins under the key plugins of the control server configuration.',
          ],
        },
      );
    }
    this.progress.busy(`removing ${args.plugin}`);
    await new PluginHome(this.config.dataDir, this.config.root).uninstall(args.plugin);
    this.progress.idle();
    this.log(`removed ${args.plugin}`);
    return { name: args.plugin, removed: true };
  }
}
