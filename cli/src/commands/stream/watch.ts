import { Args } from '@oclif/core';
import { printJson } from '../../output.js';
import { watchLine } from '../../present/status.js';
import { serverFlag, StreamCommand } from './stream-command.js';

export default class StreamWatch extends StreamCommand {
  static override summary = 'print the status of a stream now and after every change, until it is over';
  static override examples = [
    '<%= config.bin %> <%= command.id %> tomo',
    '<%= config.bin %> <%= command.id %> tomo --json',
  ];
  static override args = { ref: Args.string({ description: 'uid, beginning of a uid, or name', required: true }) };
  static override flags = serverFlag;

  /** Ctrl-C is how one stops watching, and no error. */
  protected override readonly interruption = undefined;

  /** With `--json` one document per line; nothing is returned, for that would be printed as one more. */
  async run(): Promise<void> {
    const { args, flags } = await this.parse(StreamWatch);
    await this.withClient(flags, async (client, _config, signal) => {
      const stream = await client.find(args.ref, { servers: flags.s2cs, signal });
      for await (const status of stream.watch(signal)) {
        if (this.jsonEnabled()) printJson(status, false);
        else this.log(watchLine(status, new Date()));
      }
    });
  }
}
