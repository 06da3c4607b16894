import { Args, Flags } from '@oclif/core';
import { statusText } from '../../present/status.js';
import { serverFlag, StreamCommand } from './stream-command.js';

export default class StreamUpdate extends StreamCommand {
  static override summary =
    'send new connections of a stream to another producer, or to an inbound side that was moved';
  static override description =
    'Without --producer the outbound side follows the inbound one, whose gateway may have changed. Connections in flight stay where they are, and so do the listeners.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> tomo --producer 10.0.1.6:5001,10.0.1.6:5002',
    '<%= config.bin %> <%= command.id %> tomo',
  ];
  static override args = { ref: Args.string({ description: 'uid, beginning of a uid, or name', required: true }) };
  static override flags = {
    ...serverFlag,
    producer: Flags.string({
      summary: 'where the producer listens from now on, as the inbound gateway reaches it',
      helpValue: 'host:port[,…]',
      multiple: true,
      multipleNonGreedy: true,
      delimiter: ',',
    }),
    inbound: Flags.string({
      summary: 'listeners of the inbound side, where its control server does not tell them',
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
      const stream = await client.find(args.ref, { servers: flags.s2cs, signal });
      const { producer, inbound } = flags;
      const status = await (producer ? stream.update({ producer }, signal) : stream.follow(inbound, signal));
      this.log(statusText(status));
      return status;
    });
  }
}
