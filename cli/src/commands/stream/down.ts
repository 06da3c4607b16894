import { Args } from '@oclif/core';
import type { S2UC, SearchOptions } from '@scistream/core/client';
import { downResult, type DownResult } from '../../present/results.js';
import { downText } from '../../present/status.js';
import { serverFlag, StreamCommand } from './stream-command.js';

export default class StreamDown extends StreamCommand {
  static override summary = 'end streams and give everything back';
  static override examples = [
    '<%= config.bin %> <%= command.id %> tomo',
    '<%= config.bin %> <%= command.id %> 9f3c2a 51b0d7 --json',
  ];
  static override strict = false;
  static override args = {
    ref: Args.string({ description: 'uid, beginning of a uid, or name; may be repeated', required: true }),
  };
  static override flags = serverFlag;

  /** Every stream is tried; the first error is the command's. */
  async run(): Promise<object> {
    const { argv, flags } = await this.parse(StreamDown);
    const refs = argv.map(String);
    const outcomes = await this.withClient(flags, (client, _config, signal) =>
      Promise.allSettled(refs.map((ref) => bringDown(client, ref, { servers: flags.s2cs, ended: false, signal }))),
    );
    const released = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    for (const result of released) this.log(downText(result));
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed) throw failed.reason;
    return { released };
  }
}

/** A stream that has been found is released whatever the signal says; half of it would be worse. */
async function bringDown(client: S2UC, ref: string, where: SearchOptions): Promise<DownResult> {
  const stream = await client.find(ref, where);
  return downResult(stream.uid, stream.name, await stream.down());
}
