import { Args, Flags } from '@oclif/core';
import type { GatewayState } from '@scistream/core/client';
import { StreamCommand } from '../stream/stream-command.js';

/** Which control server is meant. */
export const ofServer = {
  s2cs: Flags.string({
    summary: 'control server of the gateways: a configured facility, or its address',
    helpValue: 'NAME|host:port[#sha256:…]',
    required: true,
  }),
};

/** Which gateway is meant. */
export const gatewayArgument = { name: Args.string({ description: 'name of the gateway', required: true }) };

/** What `drain` and `undrain` share. */
export abstract class DrainCommand extends StreamCommand {
  static override args = gatewayArgument;
  static override flags = ofServer;

  /** @param drained Whether the gateway shall take no new streams. */
  protected async setDrained(drained: boolean): Promise<GatewayState> {
    const { args, flags } = await this.parse({
      args: gatewayArgument,
      flags: ofServer,
      baseFlags: StreamCommand.baseFlags,
      enableJsonFlag: true,
    });
    const gateway = await this.withClient(flags, (client, _config, signal) =>
      client.drain(flags.s2cs, args.name, drained, signal),
    );
    const { name, streams } = gateway;
    const left = streams === 1 ? '1 stream lives' : `${streams} streams live`;
    this.log(drained ? `${name} takes no new streams; ${left} on there` : `${name} takes new streams again`);
    return gateway;
  }
}
