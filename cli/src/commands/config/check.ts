import { Args } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { chosenKind, kindFlag } from '../../config-kind.js';

export default class ConfigCheck extends BaseCommand {
  static override summary = 'check a configuration file and report all errors';
  static override args = { file: Args.string({ description: 'configuration file; same as --config' }) };
  static override flags = { kind: kindFlag() };
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> s2cs.conf'];

  async run(): Promise<object> {
    const { args, flags } = await this.parse(ConfigCheck);
    const config = args.file ?? flags.config;
    const kind = await chosenKind(flags.kind, config);
    const { config: parsed, file = null } = await this.loadConfig(kind, { config });
    if (!('facilities' in parsed)) {
      const { checkDaemonConfig } = await import('@scistream/core/server');
      const { loadedPlugins } = await import('../../compose.js');
      await checkDaemonConfig(parsed, await loadedPlugins(this.config));
    }
    this.log(
      file === null
        ? 'No configuration file was found. The defaults are valid.'
        : `${file} is a valid configuration of ${kind}.`,
    );
    return { valid: true, kind, file };
  }
}
