import { Args, Flags } from '@oclif/core';
import type { GatewayState } from '@scistream/core/client';

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

/** What `drain` and `undrain` print for people. */
export function drainedText({ name, drained, streams }: GatewayState): string {
  if (!drained) return `${name} takes new streams again`;
  const left = streams === 1 ? '1 stream lives' : `${streams} streams live`;
  return `${name} takes no new streams; ${left} on there`;
}
