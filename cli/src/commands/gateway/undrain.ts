import { DrainCommand } from './gateway-command.js';

export default class GatewayUndrain extends DrainCommand {
  static override summary = 'let a drained gateway take new streams again';
  static override description = 'Needs an identity with admin: true. Survives restarts of the control server.';
  static override examples = ['<%= config.bin %> <%= command.id %> dtn1 --s2cs aps'];

  async run(): Promise<object> {
    return await this.setDrained(false);
  }
}
