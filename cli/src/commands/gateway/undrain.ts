import { StreamCommand } from '../stream/stream-command.js';
import { drainedText, gatewayArgument, ofServer } from './gateway-command.js';

export default class GatewayUndrain extends StreamCommand {
  static override summary = 'allow new streams on a drained gateway';
  static override description =
    'Requires the identity of an admin. The drain state survives restarts of the control server.';
  static override examples = ['<%= config.bin %> <%= command.id %> dtn1 --s2cs aps'];
  static override args = gatewayArgument;
  static override flags = ofServer;

  async run(): Promise<object> {
    const { args, flags } = await this.parse(GatewayUndrain);
    const gateway = await this.withClient(flags, (client, _config, signal) =>
      client.drain(flags.s2cs, args.name, false, signal),
    );
    this.log(drainedText(gateway));
    return gateway;
  }
}
