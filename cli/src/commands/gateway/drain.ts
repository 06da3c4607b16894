import { Flags } from '@oclif/core';
import { parseDuration } from '@scistream/core';
import type { StreamMove } from '@scistream/core/client';
import { moveLine } from '../../present/gateways.js';
import { StreamCommand } from '../stream/stream-command.js';
import { drainedText, gatewayArgument, ofServer } from './gateway-command.js';

export default class GatewayDrain extends StreamCommand {
  static override summary = 'stop placing new streams on a gateway';
  static override description =
    'Existing streams keep running. With --move, streams created with --movable move to other gateways, where they get new listeners; the exit code is not 0 when a move fails. Requires the identity of an admin. The drain state survives restarts of the control server.';

  static override examples = [
    '<%= config.bin %> <%= command.id %> dtn1 --s2cs aps',
    '<%= config.bin %> <%= command.id %> dtn1 --s2cs aps --move --grace 10m',
    '<%= config.bin %> <%= command.id %> dtn1 --s2cs aps --reason "new disk, until 18:00"',
  ];

  static override args = gatewayArgument;
  static override flags = {
    ...ofServer,
    reason: Flags.string({
      summary: 'why, for all users of the control server; at most 200 characters',
      helpValue: 'TEXT',
    }),
    move: Flags.boolean({ summary: 'move movable streams to other gateways' }),
    grace: Flags.string({
      summary: 'maximum time for connections to finish on the old listeners; default: 60s',
      dependsOn: ['move'],
    }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(GatewayDrain);
    const graceMs = parseDuration(flags.grace ?? '60s');
    return await this.withClient(flags, async (client, _config, signal) => {
      const drain = () => client.drain(flags.s2cs, args.name, true, signal, flags.reason);
      const moves: StreamMove[] = [];
      // First, so that the reason is known while the streams move.
      if (flags.move) await drain();
      for await (const move of flags.move ? client.move(flags.s2cs, args.name, graceMs, signal) : []) {
        moves.push(move);
        this.log(moveLine(move));
      }
      const gateway = await drain();
      this.log(drainedText(gateway));
      const [failed] = moves.flatMap(({ error }) => error ?? []);
      if (failed) process.exitCode = failed.oclif.exit;
      return flags.move ? { ...gateway, moves } : gateway;
    });
  }
}
