import { Args } from '@oclif/core';
import { quote, SciStreamError, toSciStreamError } from '@scistream/core';
import { BaseCommand } from '../../base-command.js';
import type { FoundPlugin } from '@scistream/core/server';

export default class PluginInspect extends BaseCommand {
  static override summary = 'show what a plugin provides and check its code and examples';
  static override args = { plugin: Args.string({ required: true, description: 'name of the package' }) };
  static override examples = ['<%= config.bin %> <%= command.id %> @scistream/plugin-haproxy'];

  async run(): Promise<object> {
    const { args } = await this.parse(PluginInspect);
    const { loadedPlugins } = await import('../../compose.js');
    const plugins = await loadedPlugins(this.config);
    const plugin = plugins.find(({ name }) => name === args.plugin);
    if (!plugin) {
      throw new SciStreamError('SCI_PLUGIN_NOT_FOUND', `Plugin ${quote(args.plugin)} is not installed.`, {
        suggestions: ['scistream plugin ls', `scistream plugin install ${args.plugin}`],
      });
    }
    const { name, version, type, root, manifest } = plugin;
    const error = plugin.error ?? (await codeError(plugin));
    if (error) process.exitCode = error.oclif.exit;
    this.log(`${name} ${version} (${type})\n${root}`);
    for (const { kind, id, summary, example } of manifest?.provides ?? []) {
      this.log(`  ${kind} ${id}: ${summary}${example ? `\n    example options: ${JSON.stringify(example)}` : ''}`);
    }
    this.log(
      error ? `broken: ${error.message} [${error.code}]` : 'ok: the code loads and the example options are valid',
    );
    return { name, version, type, root, manifest, state: error ? 'broken' : 'ok', ...(error && { error }) };
  }
}

/** Loads the code and validates the example options of the manifest. */
async function codeError(plugin: FoundPlugin): Promise<SciStreamError | undefined> {
  const { checkOptions, importPlugin } = await import('@scistream/core/server');
  if (plugin.error) return plugin.error;
  try {
    const { providers } = await importPlugin(plugin);
    for (const { kind, id, example } of plugin.manifest.provides) {
      const provider = providers.find((candidate) => candidate.kind === kind && candidate.id === id);
      if (provider && example) await checkOptions<unknown>(provider.options, example, `the example of ${kind} ${id}`);
    }
    return undefined;
  } catch (error) {
    return toSciStreamError(error);
  }
}
