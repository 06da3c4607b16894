import { Args } from '@oclif/core';
import { BaseCommand } from '../base-command.js';
import { facilityLogin } from '../facility-login.js';

export default class Logout extends BaseCommand {
  static override summary = 'remove and revoke the tokens of a facility';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> aps'];

  static override args = {
    facility: Args.string({ description: 'configured facility; default: the only facility with the key auth' }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(Logout);
    const [{ logOut }, { config }] = await Promise.all([
      import('@scistream/core/client'),
      this.loadConfig('s2uc', { config: flags.config }),
    ]);
    const { facility, ...login } = facilityLogin(config, args.facility);
    const { existed, notRevoked } = await logOut({ facility, ...login });
    const revoked = existed && !notRevoked;
    if (!existed) this.log(`not logged in to ${facility}`);
    else
      this.log(revoked ? `logged out of ${facility}` : `removed the tokens of ${facility}, but could not revoke them`);
    if (notRevoked) this.log(notRevoked.message);
    return { facility, loggedOut: existed, revoked, ...(notRevoked && { error: notRevoked }) };
  }
}
