import { BaseCommand } from '../../base-command.js';
import { chosenKind, kindFlag } from '../../config-kind.js';

export default class ConfigCheck extends BaseCommand {
  static override summary = 'say whether a configuration is right, and if not, all that is wrong';
  static override flags = { kind: kindFlag() };
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --config s2cs.conf',
  ];

  async run(): Promise<object> {
    const { flags } = await this.parse(ConfigCheck);
    const kind = await chosenKind(flags.kind, flags.config);
    const { config, file = null } = await this.loadConfig(kind, { config: flags.config });
    if (!('facilities' in config)) {
      const { checkDaemonConfig, loadedPlugins } = await import('../../compose.js');
      await checkDaemonConfig(config, await loadedPlugins(this.config));
    }
    this.log(
      file === null ? 'No file was found; the defaults are valid.' : `${file} is a valid configuration of ${kind}.`,
    );
    return { valid: true, kind, file };
  }
}
