import { Args, Flags } from '@oclif/core';
import { SciStreamError } from '@scistream/core';
import type { FollowOptions, StreamHistoryEvent } from '@scistream/core/client';
import { eventLine, eventsText, followedLine } from '../../present/events.js';
import { streamFlags, StreamCommand } from './stream-command.js';

export default class StreamEvents extends StreamCommand {
  static override summary = 'show the history of a stream, and which caller did what';
  static override description =
    'With --follow, the command also prints each new event, until the stream has ended. With --all, it prints the new events of all your streams at all known facilities, until Ctrl-C; an admin sees the streams of all owners. It connects again when a control server restarts, and repeats no event. With --json, each event is one line. The `id` of an event grows with each event of its control server.';

  static override examples = [
    '<%= config.bin %> <%= command.id %> tomo',
    '<%= config.bin %> <%= command.id %> 9f3c2a --json',
    '<%= config.bin %> <%= command.id %> tomo --follow',
    '<%= config.bin %> <%= command.id %> --follow --all --json',
  ];

  static override args = {
    ref: Args.string({ description: 'uid, prefix of a uid, or name; required without --all' }),
  };

  static override flags = {
    ...streamFlags,
    follow: Flags.boolean({ char: 'f', summary: 'print new events as they occur, until the stream has ended' }),
    all: Flags.boolean({ summary: 'follow all streams instead of one', dependsOn: ['follow'] }),
  };

  /** Ctrl-C is the normal way to stop following, not an error. */
  protected override readonly interruptionIsError = !this.argv.some((word) => ['--follow', '-f'].includes(word));

  /** Returns nothing with `--follow`, because a result would be printed as another document. */
  async run(): Promise<readonly StreamHistoryEvent[] | undefined> {
    const { args, flags } = await this.parse(StreamEvents);
    const { ref } = args;
    const where = { servers: flags.s2cs, owner: flags.owner };
    if ((ref === undefined) !== (flags.all === true)) throw refOrAll();
    return await this.withClient(flags, async (client, _config, signal) => {
      const following = { signal, onLost: this.#onLost };
      if (ref === undefined) {
        for await (const event of client.followEvents({ ...where, ...following }))
          await this.print(followedLine(event), event, false);
        return undefined;
      }
      const stream = await client.find(ref, { ...where, signal });
      if (flags.follow) {
        for await (const event of stream.followEvents(following)) await this.print(eventLine(event), event, false);
        return undefined;
      }
      const events = await stream.events(signal);
      this.log(eventsText(events));
      return events;
    });
  }

  readonly #onLost: FollowOptions['onLost'] = ({ message, code }, retrying) =>
    this.progress.warn(`${retrying ? 'Connecting again' : 'No longer followed'}: ${message} [${code}]`);
}

const refOrAll = (): SciStreamError =>
  new SciStreamError('SCI_USAGE', 'The command needs either a stream or --follow --all.', {
    suggestions: ['scistream stream events REF', 'scistream stream events --follow --all'],
  });
