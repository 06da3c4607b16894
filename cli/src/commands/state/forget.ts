import { Args } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { daemonKind } from '../../config-kind.js';

export default class StateForget extends BaseCommand {
  static override summary = 'remove a stream that cannot be released from the state of a stopped daemon';
  static override description =
    'For a stream that stays releasing because its plugin or its runtime no longer exists. Its ports are then free for other streams. Make sure that nothing of the stream still forwards data: this command does not.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> 3f6c1f0e-5d0f-4b7e-9a53-1c2d3e4f5a6b --config s2ds.conf',
  ];
  static override args = { uid: Args.string({ required: true, description: 'uid of the stream' }) };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(StateForget);
    const { uid } = args;
    const { config } = await this.loadConfig(await daemonKind(flags.config), { config: flags.config });
    const { forgetStream } = await import('@scistream/core/server');
    await forgetStream(config.state, uid);
    this.log(`Removed stream ${uid} from ${config.state}.`);
    return { state: config.state, uid };
  }
}
