import { Args } from '@oclif/core';
import { SciStreamError } from '@scistream/core';
import { whoamiText } from '../facility-login.js';
import { StreamCommand } from './stream/stream-command.js';

export default class Whoami extends StreamCommand {
  static override summary = 'show who you are at a facility';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> aps --json'];

  static override args = {
    facility: Args.string({ description: 'configured facility or host:port; default: the only configured facility' }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(Whoami);
    const found = await this.withClient(flags, (client, { facilities }, signal) =>
      client.whoAmI(args.facility ?? onlyOf(Object.keys(facilities)), signal),
    );
    this.log(whoamiText(found));
    return found;
  }
}

function onlyOf(names: readonly string[]): string {
  const [only] = names;
  if (only !== undefined && names.length === 1) return only;
  throw new SciStreamError(
    'SCI_USAGE',
    names.length === 0 ? 'The configuration has no facilities.' : 'The configuration has several facilities.',
    {
      suggestions:
        names.length === 0 ? ['scistream whoami host:port'] : names.map((name) => `scistream whoami ${name}`),
    },
  );
}
