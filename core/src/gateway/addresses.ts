import type { GatewaySettings } from '../contracts/gateway.js';
import type { S2DSCapabilities } from '../contracts/s2ds.js';
import type { Role } from '../contracts/stream.js';
import { isLocalAddress } from '../proxy/local-address.js';
import type { GatewayStream } from './store.js';

/** The addresses of a stream on this host, besides its listeners. */
export function addressesOf(
  { wan, lan, advertise, wanSource, lanSource }: GatewaySettings,
  role: Role,
  supports: S2DSCapabilities,
): Pick<GatewayStream, 'advertise' | 'localAddress'> {
  const [explicit, usual] = role === 'inbound' ? [lanSource, lan] : [wanSource, wan];
  // The host may reach the other gateway although it does not have the address of its own inbound listeners.
  const localAddress = explicit ?? (isLocalAddress(usual) ? usual : undefined);
  return {
    ...(advertise !== undefined && role === 'inbound' && { advertise }),
    ...(localAddress !== undefined && supports.localAddress && { localAddress }),
  };
}
