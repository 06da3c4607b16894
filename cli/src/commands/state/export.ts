import { BaseCommand } from '../../base-command.js';
import { daemonKind } from '../../config-kind.js';
import { jsonText } from '../../output.js';

export default class StateExport extends BaseCommand {
  static override summary = 'print the stored state of a daemon as JSON, without secrets';
  static override examples = ['<%= config.bin %> <%= command.id %> --config s2cs.conf > state.json'];

  async run(): Promise<object> {
    const { flags } = await this.parse(StateExport);
    const { config } = await this.loadConfig(await daemonKind(flags.config), { config: flags.config });
    const { readState } = await import('@scistream/core/server');
    const stored = await readState(config.state);
    this.log(jsonText(stored).trimEnd());
    return stored;
  }
}
