import { Args } from '@oclif/core';
import { statusText } from '../../present/status.js';
import { streamFlags, StreamCommand } from './stream-command.js';

/** Time over which the rates of an active stream are measured, ms. */
const SAMPLE_MS = 300;

export default class StreamStatus extends StreamCommand {
  static override summary = 'show both sides of a stream';
  static override examples = [
    '<%= config.bin %> <%= command.id %> tomo',
    '<%= config.bin %> <%= command.id %> 9f3c2a --json',
  ];
  static override args = { ref: Args.string({ description: 'uid, prefix of a uid, or name', required: true }) };
  static override flags = streamFlags;

  async run(): Promise<object> {
    const { args, flags } = await this.parse(StreamStatus);
    return await this.withClient(flags, async (client, _config, signal) => {
      const stream = await client.find(args.ref, { servers: flags.s2cs, owner: flags.owner, signal });
      const { from, to } = stream.initial;
      const streaming = [from, to].some((side) => side?.state === 'streaming');
      const status = streaming ? await stream.status({ sampleMs: SAMPLE_MS, signal }) : stream.initial;
      this.log(statusText(status));
      return status;
    });
  }
}
