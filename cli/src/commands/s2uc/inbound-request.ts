import { Flags } from '@oclif/core';
import { LegacyCommand, producersOf, sideFlags } from './legacy-command.js';

export default class InboundRequest extends LegacyCommand {
  static override summary = 'create the inbound side of a stream (legacy)';
  static override description =
    'Sends REQ, and HELLO in place of the producer. Data between the gateways is not encrypted unless --encryption tls is given; then the command prints a ticket for `s2uc up --outbound -`. To create both sides in one step, use `stream up`.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --s2cs gw.aps.example:5000 --server-cert aps.crt --remote-ip 10.0.1.5 --receiver-ports 5001,5002 --num-conn 2',
  ];

  static override flags = {
    ...sideFlags,
    s2cs: Flags.string({ summary: 'control server', helpValue: 'host:port[#sha256:…]', default: 'localhost:5000' }),
    mock: Flags.string({ summary: 'accepted for existing scripts; ignored', hidden: true }),
    uid: Flags.string({ summary: 'use this uid instead of a new one' }),
    encryption: Flags.option({
      options: ['tls', 'none'] as const,
      summary: 'encryption between the gateways',
      default: 'none',
    })(),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(InboundRequest);
    const { s2cs, uid, encryption, 'num-conn': connections } = flags;
    const producer = await producersOf(flags);
    await this.withClient(this.trusting(flags), async (client, _config, signal) => {
      const options = { from: s2cs, producer, connections, uid, encryption, verify: false };
      const { handle, ticket } = await client.inbound(options, signal);
      await this.report(handle, signal, encryption === 'tls' ? ticket : undefined);
    });
  }
}
