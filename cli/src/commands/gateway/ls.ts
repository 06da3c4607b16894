import { gatewaysText } from '../../present/gateways.js';
import { StreamCommand } from '../stream/stream-command.js';
import { ofServer } from './gateway-command.js';

export default class GatewayLs extends StreamCommand {
  static override summary = 'list the gateways of a control server and their free resources';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --s2cs aps',
    '<%= config.bin %> <%= command.id %> --s2cs gw.aps.example:5000 --json',
  ];

  static override flags = ofServer;

  async run(): Promise<object> {
    const { flags } = await this.parse(GatewayLs);
    const gateways = await this.withClient(flags, (client, _config, signal) => client.gateways(flags.s2cs, signal));
    this.log(gatewaysText(gateways));
    return { gateways };
  }
}
