import { Args, Flags } from '@oclif/core';
import type { GatewayState } from '@scistream/core/client';
import { formatCount } from '@scistream/core/terminal';

/** Flag that selects the control server. */
export const ofServer = {
  s2cs: Flags.string({
    summary: 'control server of the gateway: a configured facility or an address',
    helpValue: 'NAME|host:port[#sha256:…]',
    required: true,
  }),
};

/** Argument that selects the gateway. */
export const gatewayArgument = { name: Args.string({ description: 'name of the gateway', required: true }) };

/** The human-readable output of `drain` and `undrain`. */
export function drainedText({ name, drained, streams }: GatewayState): string {
  if (!drained) return `${name} accepts new streams`;
  const left = `${formatCount(streams, 'stream')} ${streams === 1 ? 'is' : 'are'}`;
  return `${name} is drained; ${left} still running`;
}
