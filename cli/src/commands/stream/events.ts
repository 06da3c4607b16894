import { Args } from '@oclif/core';
import { table } from '../../output.js';
import { momentText } from '../../present/text.js';
import { streamFlags, StreamCommand } from './stream-command.js';

export default class StreamEvents extends StreamCommand {
  static override summary = 'show the history of a stream, and which caller did what';
  static override examples = [
    '<%= config.bin %> <%= command.id %> tomo',
    '<%= config.bin %> <%= command.id %> 9f3c2a --json',
  ];
  static override args = { ref: Args.string({ description: 'uid, prefix of a uid, or name', required: true }) };
  static override flags = streamFlags;

  async run(): Promise<readonly object[]> {
    const { args, flags } = await this.parse(StreamEvents);
    return await this.withClient(flags, async (client, _config, signal) => {
      const stream = await client.find(args.ref, { servers: flags.s2cs, owner: flags.owner, signal });
      const events = await stream.events(signal);
      const rows = events.map(({ at, side, what, by = '', detail = '' }) => [momentText(at), side, what, by, detail]);
      this.log(table(['AT', 'SIDE', 'WHAT', 'BY', ''], rows));
      return events;
    });
  }
}
