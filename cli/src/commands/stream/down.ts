import { Args } from '@oclif/core';
import { SciStreamError } from '@scistream/core';
import type { S2UC, SearchOptions } from '@scistream/core/client';
import { reportError } from '../../output.js';
import { downResult, type DownFailure, type DownResult } from '../../present/results.js';
import { explained } from '../../system-error.js';
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

  /** Tries every stream. The exit code is that of the first error. */
  async run(): Promise<object> {
    const { argv, flags } = await this.parse(StreamDown);
    const refs = argv.map(String);
    const outcomes = await this.withClient(flags, (client, _config, signal) =>
      Promise.all(
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
    const released = outcomes.flatMap((outcome) => ('error' in outcome ? [] : [outcome]));
    const failed = outcomes.flatMap((outcome) => ('error' in outcome ? [outcome] : []));
    for (const result of released) this.log(downText(result));
    const [first] = failed;
    if (!first) return { released, failed };
    if (!this.jsonEnabled()) {
      for (const { ref, error } of failed) {
        reportError(refs.length > 1 ? naming(ref, error) : error, {
          json: false,
          verbose: flags.verbose,
          command: 'stream down',
        });
      }
    }
    process.exitCode = first.error.oclif.exit;
    return { released, failed, error: first.error };
  }
}

function naming(ref: string, cause: SciStreamError): SciStreamError {
  const { code, message, suggestions } = cause;
  return new SciStreamError(code, `${ref}: ${message}`, { suggestions, cause });
}

/** Releases one stream. Ignores the signal once the stream is found, so that no half of it remains. */
async function bringDown(client: S2UC, ref: string, where: SearchOptions): Promise<DownResult | DownFailure> {
  let uid: string | undefined;
  try {
    const stream = await client.find(ref, where);
    uid = stream.uid;
    return downResult(uid, stream.name, await stream.down());
  } catch (error) {
    return { ref, ...(uid !== undefined && { uid }), error: explained(error) };
  }
}
