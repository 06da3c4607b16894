import { Args } from '@oclif/core';
import { quote, SciStreamError } from '@scistream/core';
import { BaseCommand } from '../../base-command.js';

export default class PluginInspect extends BaseCommand {
  static override summary = 'show what a plugin provides and check its code and examples';
  static override args = { plugin: Args.string({ required: true, description: 'name of the package' }) };
  static override examples = ['<%= config.bin %> <%= command.id %> @scistream/plugin-haproxy'];

  async run(): Promise<object> {
    const { args } = await this.parse(PluginInspect);
    const { tryPlugin } = await import('../../plugin-apart.js');
    const { loadedPlugins } = await import('../../compose.js');
    const plugins = await loadedPlugins(this.config);
    const plugin = plugins.find(({ name }) => name === args.plugin);
    if (!plugin) {
      throw new SciStreamError('SCI_PLUGIN_NOT_FOUND', `Plugin ${quote(args.plugin)} is not installed.`, {
        suggestions: ['scistream plugin ls'],
      });
    }
    const { name, version, type, root, manifest } = plugin;
    const { error } = await tryPlugin(plugin);
    if (error) process.exitCode = error.oclif.exit;
    this.log(`${name} ${version} (${type})\n${root}`);
    for (const { kind, id, summary, example } of manifest?.provides ?? []) {
      this.log(`  ${kind} ${id}: ${summary}${example ? `\n    example options: ${JSON.stringify(example)}` : ''}`);
    }
    this.log(
      error
        ? `broken: ${error.message} [${error.code}]`
        : 'ok: the code loads, the example options are valid, and every provider can be created',
    );
    return { name, version, type, root, manifest, state: error ? 'broken' : 'ok', ...(error && { error }) };
  }
}
