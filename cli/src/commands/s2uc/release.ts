import { Args, Flags } from '@oclif/core';
import { LegacyCommand, legacyFlags } from './legacy-command.js';

export default class Release extends LegacyCommand {
  static override summary = 'release a stream at one or more control servers (legacy)';
  static override examples = [
    '<%= config.bin %> <%= command.id %> 9f3c2a10-5d5e-4a6c-9d1c-0c8a4a1f2b33 --s2cs gw.aps.example:5000 --server-cert aps.crt',
    '<%= config.bin %> <%= command.id %> 9f3c2a10-5d5e-4a6c-9d1c-0c8a4a1f2b33 --s2cs gw.aps.example:5000 --s2cs gw.alcf.example:5000',
  ];

  static override args = { uid: Args.string({ description: 'uid of the stream', required: true }) };
  static override flags = {
    ...legacyFlags,
    s2cs: Flags.string({
      summary: 'control server; may be repeated',
      helpValue: 'host:port[#sha256:…]',
      multiple: true,
      multipleNonGreedy: true,
      default: ['localhost:5000'],
    }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(Release);
    await this.withClient(this.trusting(flags), (client) => client.release(args.uid, flags.s2cs));
    this.log(`released: ${args.uid}`);
    return { uid: args.uid, released: flags.s2cs };
  }
}
