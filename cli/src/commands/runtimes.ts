import { BaseCommand } from '../base-command.js';
import { offers } from '../offers.js';
import { pluginConfig } from '../plugin-config.js';

export default class Runtimes extends BaseCommand {
  static override summary = 'list the runtimes, which of them proxies can run in here, and what the others lack';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --config s2cs.conf --json',
  ];

  async run(): Promise<object> {
    const { flags } = await this.parse(Runtimes);
    const { json, text } = await offers(this.config, 'runtime', await pluginConfig(flags.config));
    this.log(text);
    this.progress.note('More: npm search scistream-plugin, then scistream plugin install NAME');
    return json;
  }
}
