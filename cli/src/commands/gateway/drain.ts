import { Flags } from '@oclif/core';
import { ERROR_CODES, parseDuration } from '@scistream/core';
import type { StreamMove } from '@scistream/core/client';
import { moveLine } from '../../present/gateways.js';
import { StreamCommand } from '../stream/stream-command.js';
import { drainedText, gatewayArgument, ofServer } from './gateway-command.js';

export default class GatewayDrain extends StreamCommand {
  static override summary = 'let a gateway take no new streams; those it has live on, or are moved away';
  static override description =
    'Needs an identity with admin: true. Survives restarts of the control server. With --move, streams that were made with --movable go to other gateways, where they have other listeners; the exit code is not 0 when one of them could not.';

  static override examples = [
    '<%= config.bin %> <%= command.id %> dtn1 --s2cs aps',
    '<%= config.bin %> <%= command.id %> dtn1 --s2cs aps --move --grace 10m',
  ];

  static override args = gatewayArgument;
  static override flags = {
    ...ofServer,
    move: Flags.boolean({ summary: 'move its movable streams to other gateways' }),
    grace: Flags.string({
      summary: 'how long connections may stay on the old listeners at most; default 60s',
      dependsOn: ['move'],
    }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(GatewayDrain);
    const graceMs = parseDuration(flags.grace ?? '60s');
    return await this.withClient(flags, async (client, _config, signal) => {
      const moves: StreamMove[] = [];
      for await (const move of flags.move ? client.move(flags.s2cs, args.name, graceMs, signal) : []) {
        moves.push(move);
        this.log(moveLine(move));
      }
      const gateway = await client.drain(flags.s2cs, args.name, true, signal);
      this.log(drainedText(gateway));
      const [failed] = moves.flatMap(({ error }) => error ?? []);
      if (failed) process.exitCode = ERROR_CODES[failed.code].exit;
      return flags.move ? { ...gateway, moves } : gateway;
    });
  }
}
