import { Flags } from '@oclif/core';
import { listText } from '../../present/list.js';
import { serverFlag, StreamCommand } from './stream-command.js';

export default class StreamLs extends StreamCommand {
  static override summary = 'list your streams at all known facilities';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --all --json',
    '<%= config.bin %> <%= command.id %> --s2cs gw.alcf.example:5000',
  ];

  static override flags = {
    ...serverFlag,
    all: Flags.boolean({ summary: 'include ended streams that are still on record' }),
  };

  async run(): Promise<object> {
    const { flags } = await this.parse(StreamLs);
    const list = await this.withClient(flags, (client, _config, signal) =>
      client.list({ servers: flags.s2cs, ended: flags.all, signal }),
    );
    this.log(listText(list));
    return list;
  }
}
