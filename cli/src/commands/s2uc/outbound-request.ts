import { Args, Flags } from '@oclif/core';
import { SciStreamError } from '@scistream/core';
import { LegacyCommand, producersOf, sideFlags } from './legacy-command.js';

export default class OutboundRequest extends LegacyCommand {
  static override summary = 'create the outbound side of a stream (legacy)';
  static override description =
    'Sends REQ, and HELLO in place of the consumer. Give the listeners of the inbound side after the uid, or with --remote-ip and --receiver-ports. Data between the gateways is not encrypted; for an inbound side with a ticket, use `s2uc up --outbound -`.';

  static override examples = [
    '<%= config.bin %> <%= command.id %> --s2cs gw.alcf.example:5000 --server-cert alcf.crt 9f3c2a10-5d5e-4a6c-9d1c-0c8a4a1f2b33 203.0.113.10:5100,203.0.113.10:5101',
    '<%= config.bin %> <%= command.id %> --s2cs gw.alcf.example:5000 --remote-ip 203.0.113.10 --receiver-ports 5100,5101',
  ];

  static override args = {
    uid: Args.string({ description: 'uid of the inbound side; default: a new uid' }),
    listeners: Args.string({ description: 'listeners of the inbound side, host:port[,…]' }),
  };

  static override flags = {
    ...sideFlags,
    s2cs: Flags.string({ summary: 'control server', helpValue: 'host:port[#sha256:…]', default: 'localhost:6000' }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(OutboundRequest);
    const { s2cs, 'num-conn': connections } = flags;
    const named = flags['remote-ip'] !== undefined || flags['receiver-ports'] !== undefined;
    const { uid, positional } = positionals(args.uid, args.listeners);
    const { parseAddress } = await import('@scistream/core/config');
    const listeners =
      positional?.split(',').map((text) => parseAddress(text.trim(), 'Listener')) ??
      (named ? await producersOf(flags) : []);
    if (listeners.length === 0) {
      throw new SciStreamError('SCI_TARGETS_INVALID', 'No listeners of the inbound side are given.', {
        suggestions: ['Give the output of inbound-request: s2uc outbound-request UID host:port,host:port'],
      });
    }
    await this.withClient(this.trusting(flags), async (client, _config, signal) => {
      const options = { to: s2cs, connections, encryption: 'none', verify: false } as const;
      await this.report(await client.outbound({ uid, listeners }, options, signal), signal);
    });
  }
}

/** A single argument with a colon is a list of listeners, because a uid has no colon. */
function positionals(first: string | undefined, second: string | undefined) {
  return second === undefined && first?.includes(':') ? { positional: first } : { uid: first, positional: second };
}
