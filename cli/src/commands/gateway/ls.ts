import { Flags } from '@oclif/core';
import type { GatewayList } from '@scistream/core/client';
import { gatewaysText } from '../../present/gateways.js';
import { StreamCommand } from '../stream/stream-command.js';

export default class GatewayLs extends StreamCommand {
  static override summary = 'list the gateways of all configured facilities and their free resources';
  static override description =
    'RESERVED is the sum of the rates that streams have reserved of CAPACITY. The exit code is not 0 if a control server does not answer; the gateways of the others are listed.';

  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --s2cs aps',
    '<%= config.bin %> <%= command.id %> --s2cs gw.aps.example:5000 --json',
  ];

  static override flags = {
    s2cs: Flags.string({
      summary: 'list only the gateways of this control server; may be repeated; default: all configured facilities',
      helpValue: 'NAME|host:port[#sha256:…]',
      multiple: true,
      multipleNonGreedy: true,
    }),
  };

  async run(): Promise<GatewayList> {
    const { flags } = await this.parse(GatewayLs);
    const list = await this.withClient(flags, (client, _config, signal) =>
      client.gateways({ servers: flags.s2cs, signal }),
    );
    const [failed, ...more] = list.unreachable;
    // Without another control server, the error is the whole result.
    if (failed && list.gateways.length === 0 && more.length === 0) throw failed.error;
    this.log(gatewaysText(list));
    if (failed) process.exitCode = failed.error.oclif.exit;
    return list;
  }
}
