import { BaseCommand } from '../base-command.js';
import { offers } from '../offers.js';

export default class Proxies extends BaseCommand {
  static override summary = 'list the proxies that can carry streams here';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  async run(): Promise<object> {
    await this.parse(Proxies);
    const { json, text } = await offers(this.config, 'proxy');
    this.log(text);
    this.progress.note('More: npm search scistream-plugin, then scistream plugin install NAME');
    return json;
  }
}
