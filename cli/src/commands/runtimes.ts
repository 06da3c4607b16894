import { BaseCommand } from '../base-command.js';
import { offers } from '../offers.js';
import { pluginConfig } from '../plugin-config.js';

export default class Runtimes extends BaseCommand {
  static override summary = 'list runtimes, whether they work on this host, and what is missing';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --config s2cs.conf --json',
  ];

  async run(): Promise<object> {
    const { flags } = await this.parse(Runtimes);
    const { json, text } = await offers(this.config, 'runtime', await pluginConfig(flags.config));
    this.log(text);
    this.progress.note('To add more: scistream plugin install PACKAGE');
    return json;
  }
}
