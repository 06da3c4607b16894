import { Args, Flags } from '@oclif/core';
import { verifyText } from '../../present/verify.js';
import { streamFlags, StreamCommand } from './stream-command.js';

export default class StreamVerify extends StreamCommand {
  static override summary = 'verify every hop of a stream';
  static override description =
    'By default a probe checks the path between the gateways and does not contact the producer. With --full the producer sees connections that close immediately.';

  static override examples = [
    '<%= config.bin %> <%= command.id %> tomo',
    '<%= config.bin %> <%= command.id %> tomo --full --json',
  ];
  static override args = { ref: Args.string({ description: 'uid, prefix of a uid, or name', required: true }) };
  static override flags = {
    ...streamFlags,
    full: Flags.boolean({ summary: 'also connect to the producer, directly and through the whole stream' }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(StreamVerify);
    return await this.withClient(flags, async (client, _config, signal) => {
      const stream = await client.find(args.ref, { servers: flags.s2cs, owner: flags.owner, signal });
      this.progress.busy('checking the hops');
      const result = await stream.verify({ full: flags.full, signal });
      this.progress.idle();
      this.log(verifyText(result));
      return { uid: stream.uid, name: stream.name, ...result };
    });
  }
}
