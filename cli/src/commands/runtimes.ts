import { BaseCommand } from '../base-command.js';
import { offers } from '../offers.js';

export default class Runtimes extends BaseCommand {
  static override summary = 'list the runtimes that proxies can run in here';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  async run(): Promise<object> {
    await this.parse(Runtimes);
    const { json, text } = await offers(this.config, 'runtime');
    this.log(text);
    this.progress.note('More: npm search scistream-plugin, then scistream plugin install NAME');
    return json;
  }
}
