import { formatCount } from '@scistream/core/terminal';
import { BaseCommand } from '../../base-command.js';
import { daemonKind } from '../../config-kind.js';

export default class StateCheck extends BaseCommand {
  static override summary = 'check that the stored state of a daemon is readable and count its records';
  static override examples = ['<%= config.bin %> <%= command.id %> --config s2cs.conf'];

  async run(): Promise<object> {
    const { flags } = await this.parse(StateCheck);
    const { config } = await this.loadConfig(await daemonKind(flags.config), { config: flags.config });
    const { readState } = await import('@scistream/core/server');
    const { state, streams, gateway } = await readState(config.state);
    const live = streams.filter((stream) => stream.state !== 'failed' && stream.state !== 'released').length;
    this.log(
      `${state} is readable: ${formatCount(streams.length, 'stream')}, ${live} live; ${gateway.length} on the gateway.`,
    );
    return { state, streams: streams.length, live, gateway: gateway.length };
  }
}
