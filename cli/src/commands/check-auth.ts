import { Args } from '@oclif/core';
import { SciStreamError } from '@scistream/core';
import { toSciStreamError } from '@scistream/core/terminal';
import type { Whoami } from '@scistream/core/client';
import { whoamiText } from '../facility-login.js';
import { StreamCommand } from './stream/stream-command.js';

type Checked =
  { readonly facility: string; readonly who: Whoami } | { readonly facility: string; readonly error: SciStreamError };

export default class CheckAuth extends StreamCommand {
  static override summary = 'check that facilities accept your credentials';
  static override description = 'Exits with 0 when all facilities accept you.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> aps alcf'];
  static override strict = false;

  static override args = {
    facility: Args.string({ description: 'configured facilities or host:port; default: all configured facilities' }),
  };

  async run(): Promise<object> {
    const { argv, flags } = await this.parse(CheckAuth);
    const checked = await this.withClient(flags, async (client, { facilities }, signal) => {
      const names = argv.length > 0 ? argv.map(String) : Object.keys(facilities);
      if (names.length === 0) throw noFacilities();
      return await Promise.all(
        names.map(async (facility): Promise<Checked> => {
          try {
            return { facility, who: await client.whoAmI(facility, signal) };
          } catch (error) {
            return { facility, error: toSciStreamError(error) };
          }
        }),
      );
    });
    for (const one of checked) this.log('who' in one ? whoamiText(one.who) : refusedText(one));
    const failed = checked.find((one) => 'error' in one);
    if (failed && 'error' in failed) process.exitCode = failed.error.oclif.exit;
    return { ok: !failed, facilities: checked };
  }
}

const refusedText = ({ facility, error }: { readonly facility: string; readonly error: SciStreamError }): string =>
  [`${facility}: ${error.message} [${error.code}]`, ...error.suggestions.map((one) => `  try: ${one}`)].join('\n');

const noFacilities = (): SciStreamError =>
  new SciStreamError('SCI_USAGE', 'The configuration has no facilities.', {
    suggestions: ['scistream check-auth host:port'],
  });
