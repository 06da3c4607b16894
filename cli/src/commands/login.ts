import { Args, Flags } from '@oclif/core';
import { SciStreamError } from '@scistream/core';
import { BaseCommand } from '../base-command.js';
import { facilityLogin } from '../facility-login.js';
import { untilText } from '../present/text.js';

export default class Login extends BaseCommand {
  static override summary = 'log in to a facility';
  static override description =
    'Stores the tokens in the configuration directory, readable only by this user. They are renewed before they expire ' +
    'and sent with every call to the facility.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> aps --browser',
  ];

  static override args = {
    facility: Args.string({ description: 'configured facility; default: the only facility with the key auth' }),
  };
  static override flags = {
    device: Flags.boolean({
      summary: 'log in with a browser on any machine; default: used if the issuer supports it',
      exclusive: ['browser'],
    }),
    browser: Flags.boolean({ summary: 'log in with a browser on this machine' }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(Login);
    const [{ logIn }, { config }] = await Promise.all([
      import('@scistream/core/client'),
      this.loadConfig('s2uc', { config: flags.config }),
    ]);
    const login = facilityLogin(config, args.facility);
    const interrupt = new AbortController();
    const stop = (): void =>
      interrupt.abort(
        new SciStreamError('SCI_LOGIN_FAILED', 'The login was interrupted.', {
          suggestions: [`scistream login ${args.facility}`],
        }),
      );
    process.once('SIGINT', stop);
    const result = await logIn(login, {
      method: flags.device ? 'device' : flags.browser ? 'browser' : undefined,
      signal: interrupt.signal,
      // Always print this, even when stderr is not a terminal: the user needs the address to log in.
      onPrompt: ({ url, code }) => {
        const compare = code === undefined ? 'on this machine' : `and compare the code ${code}`;
        process.stderr.write(`Open this address in a browser ${compare}:\n  ${url}\n`);
      },
    }).finally(() => process.off('SIGINT', stop));
    const ends = result.expiresAt === undefined ? '' : `, until ${untilText(result.expiresAt)}`;
    this.log(`logged in to ${result.facility}${result.renewable ? ', renewed automatically' : ends}`);
    return result;
  }
}
