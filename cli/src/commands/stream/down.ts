import { Args } from '@oclif/core';
import type { S2UC, SearchOptions } from '@scistream/core/client';
import { downResult, type DownResult } from '../../present/results.js';
import { downText } from '../../present/status.js';
import { streamFlags, StreamCommand } from './stream-command.js';

export default class StreamDown extends StreamCommand {
  static override summary = 'release streams and all their resources';
  static override examples = [
    '<%= config.bin %> <%= command.id %> tomo',
    '<%= config.bin %> <%= command.id %> 9f3c2a 51b0d7 --json',
  ];
  static override strict = false;
  static override args = {
    ref: Args.string({ description: 'uid, prefix of a uid, or name; may be repeated', required: true }),
  };
  static override flags = streamFlags;

  protected override readonly afterInterrupt = 'releasing the streams that were found';

  /** Tries every stream, then fails with the first error. */
  async run(): Promise<object> {
    const { argv, flags } = await this.parse(StreamDown);
    const refs = argv.map(String);
    const outcomes = await this.withClient(flags, (client, _config, signal) =>
      Promise.allSettled(
        refs.map((ref) =>
          bringDown(client, ref, {
            servers: flags.s2cs,
            owner: flags.owner,
            forChange: true,
            ended: false,
            forRelease: true,
            signal,
          }),
        ),
      ),
    );
    const released = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    for (const result of released) this.log(downText(result));
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed) throw failed.reason;
    return { released };
  }
}

/** Releases one stream. Ignores the signal once the stream is found, so that no half of it remains. */
async function bringDown(client: S2UC, ref: string, where: SearchOptions): Promise<DownResult> {
  const stream = await client.find(ref, where);
  return downResult(stream.uid, stream.name, await stream.down());
}
