import { Args } from '@oclif/core';
import { watchLine } from '../../present/status.js';
import { streamFlags, StreamCommand } from './stream-command.js';

export default class StreamWatch extends StreamCommand {
  static override summary = 'print the status of a stream now and after every change, until it ends';
  static override examples = [
    '<%= config.bin %> <%= command.id %> tomo',
    '<%= config.bin %> <%= command.id %> tomo --json',
  ];
  static override args = { ref: Args.string({ description: 'uid, prefix of a uid, or name', required: true }) };
  static override flags = streamFlags;

  /** Ctrl-C is the normal way to stop watching, not an error. */
  protected override readonly interruptionIsError = false;

  /** Prints one document per line with `--json`. Returns nothing, because a result would be printed as another document. */
  async run(): Promise<void> {
    const { args, flags } = await this.parse(StreamWatch);
    await this.withClient(flags, async (client, _config, signal) => {
      const stream = await client.find(args.ref, { servers: flags.s2cs, owner: flags.owner, signal });
      for await (const status of stream.watch(signal)) {
        await this.print(watchLine(status, new Date()), status, false);
      }
    });
  }
}
