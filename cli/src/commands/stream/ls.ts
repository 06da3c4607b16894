import { Flags } from '@oclif/core';
import type { StreamList } from '@scistream/core/client';
import { terminalWidth } from '../../output.js';
import { listText, nameLines, unlistedLines } from '../../present/list.js';
import { streamFlags, StreamCommand } from './stream-command.js';

/** States for `--state`. The last two are ended. */
const STATES = ['reserving', 'waiting', 'restarting', 'unknown', 'streaming', 'idle', 'ready', 'releasing'] as const;
const ENDED = ['failed', 'released'] as const;

export default class StreamLs extends StreamCommand {
  static override summary = 'list your streams at all known facilities';
  static override description =
    'The oldest stream is first. RATE is the reserved rate. On a terminal, long values are shortened to its width; a pipe or file gets full values. -o json is the same as --json. -o name prints one name per line for other commands, or the uid of a stream without a name of its own.';

  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --all --json',
    '<%= config.bin %> <%= command.id %> --state failed --state released -o wide',
    '<%= config.bin %> <%= command.id %> --s2cs gw.alcf.example:5000',
  ];

  static override flags = {
    ...streamFlags,
    all: Flags.boolean({ summary: 'include ended streams that are still on record' }),
    state: Flags.string({
      summary: 'only streams in this state; may be repeated; failed and released include ended streams',
      options: [...STATES, ...ENDED],
      multiple: true,
      multipleNonGreedy: true,
    }),
    output: Flags.string({ char: 'o', summary: 'form of the output', options: ['wide', 'json', 'name'] }),
  };

  /** Read from the words of the command line, because an error in them is reported as JSON, too. */
  override jsonEnabled(): boolean {
    return super.jsonEnabled() || /(^|\0)(-o=?|--output=|-o\0|--output\0)json(\0|$)/.test(this.argv.join('\0'));
  }

  async run(): Promise<StreamList> {
    const { flags } = await this.parse(StreamLs);
    const ended = flags.all || ENDED.some((state) => flags.state?.includes(state));
    const all = await this.withClient(flags, (client, _config, signal) =>
      client.list({ servers: flags.s2cs, ended, signal }),
    );
    const streams = all.streams.filter(
      ({ state, owner }) =>
        (flags.state?.includes(state) ?? true) && (flags.owner === undefined || owner === flags.owner),
    );
    const list = { ...all, streams };
    if (flags.output === 'name') this.#logNames(list);
    else this.log(listText(list, { wide: flags.output === 'wide', width: terminalWidth() }));
    return list;
  }

  /** What is missing goes to stderr, because another command reads the names. */
  #logNames(list: StreamList): void {
    for (const name of nameLines(list)) this.log(name);
    for (const line of unlistedLines(list.unreachable)) this.progress.warn(line);
  }
}
