import { DrainCommand } from './gateway-command.js';

export default class GatewayDrain extends DrainCommand {
  static override summary = 'let a gateway take no new streams; those it has live on';
  static override description = 'Needs an identity with admin: true. Survives restarts of the control server.';
  static override examples = ['<%= config.bin %> <%= command.id %> dtn1 --s2cs aps'];

  async run(): Promise<object> {
    return await this.setDrained(true);
  }
}
