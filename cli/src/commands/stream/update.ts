import { Args, Flags } from '@oclif/core';
import { statusText } from '../../present/status.js';
import { streamFlags, StreamCommand } from './stream-command.js';

export default class StreamUpdate extends StreamCommand {
  static override summary = 'change the producer of a stream, or reconnect to a moved inbound side';
  static override description =
    'Only new connections use the new target; established connections and the listeners stay. Without --producer, the outbound side connects to the current listeners of the inbound side, for example after a move to another gateway.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> tomo --producer 10.0.1.6:5001,10.0.1.6:5002',
    '<%= config.bin %> <%= command.id %> tomo',
  ];
  static override args = { ref: Args.string({ description: 'uid, prefix of a uid, or name', required: true }) };
  static override flags = {
    ...streamFlags,
    producer: Flags.string({
      summary: 'new address of the producer, reachable from the inbound gateway',
      helpValue: 'host:port[,…]',
      multiple: true,
      multipleNonGreedy: true,
      delimiter: ',',
    }),
    inbound: Flags.string({
      summary: 'listeners of the inbound side, if its control server does not report them',
      helpValue: 'host:port[,…]',
      multiple: true,
      multipleNonGreedy: true,
      delimiter: ',',
      exclusive: ['producer'],
    }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(StreamUpdate);
    return await this.withClient(flags, async (client, _config, signal) => {
      const stream = await client.find(args.ref, { servers: flags.s2cs, owner: flags.owner, forChange: true, signal });
      const { producer, inbound } = flags;
      const status = await (producer ? stream.update({ producer }, signal) : stream.follow(inbound, signal));
      this.log(statusText(status));
      return status;
    });
  }
}
