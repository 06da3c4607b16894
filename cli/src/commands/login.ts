import { Args, Flags } from '@oclif/core';
import { SciStreamError } from '@scistream/core';
import { BaseCommand } from '../base-command.js';
import { facilityLogin } from '../facility-login.js';

export default class Login extends BaseCommand {
  static override summary = 'log in for a facility';
  static override description =
    'The tokens are kept in the configuration directory for this user alone, renewed when they are near their end, and ' +
    'used for every call to the facility.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> aps --browser',
  ];

  static override args = {
    facility: Args.string({ description: 'facility of the configuration; default: the only one to log in for' }),
  };
  static override flags = {
    device: Flags.boolean({
      summary: 'log in with a browser on any machine; the default where the issuer offers it',
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
      interrupt.abort(new SciStreamError('SCI_LOGIN_FAILED', 'Interrupted; nobody is logged in.'));
    process.once('SIGINT', stop);
    const result = await logIn(login, {
      method: flags.device ? 'device' : flags.browser ? 'browser' : undefined,
      signal: interrupt.signal,
      // Not progress: without it nobody can log in, whatever stderr is.
      onPrompt: ({ url, code }) => {
        const compare = code === undefined ? 'on this machine' : `and compare the code ${code}`;
        process.stderr.write(`Open this address in a browser ${compare}:\n  ${url}\n`);
      },
    }).finally(() => process.off('SIGINT', stop));
    const ends = result.expiresAt === undefined ? '' : `, until ${result.expiresAt}`;
    this.log(`logged in for ${result.facility}${result.renewable ? ', renewed by itself' : ends}`);
    return result;
  }
}
