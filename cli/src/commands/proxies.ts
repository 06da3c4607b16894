import { BaseCommand } from '../base-command.js';
import { offers } from '../offers.js';
import { pluginConfig } from '../plugin-config.js';

export default class Proxies extends BaseCommand {
  static override summary = 'list proxies, whether they work on this host, and what is missing';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --config s2cs.conf --json',
  ];

  async run(): Promise<object> {
    const { flags } = await this.parse(Proxies);
    const { json, text } = await offers(this.config, 'proxy', await pluginConfig(flags.config));
    this.log(text);
    this.progress.note('To add more: scistream plugin install PACKAGE');
    return json;
  }
}
