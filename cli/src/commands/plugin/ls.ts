import { BaseCommand } from '../../base-command.js';
import { table } from '../../output.js';

export default class PluginLs extends BaseCommand {
  static override summary = 'list bundled, installed and linked plugins';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  async run(): Promise<object> {
    await this.parse(PluginLs);
    const { loadedPlugins } = await import('../../compose.js');
    const plugins = await loadedPlugins(this.config);
    const list = plugins.map(({ name, version, type, root, manifest, error }) => ({
      name,
      version,
      type,
      root,
      provides: (manifest?.provides ?? []).map(({ kind, id, summary }) => ({ kind, id, summary })),
      state: error ? 'broken' : 'ok',
      ...(error && { error }),
    }));
    this.log(
      table(
        ['NAME', 'VERSION', 'FROM', 'PROVIDES', ''],
        list.map(({ name, version, type, provides, error }) => [
          name,
          version,
          type,
          provides.map(({ kind, id }) => `${kind} ${id}`).join(', '),
          error ? `broken: ${error.message} [${error.code}]` : '',
        ]),
      ),
    );
    return list;
  }
}
