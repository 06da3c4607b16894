import { isIP } from 'node:net';
import { addressesOf, isLoopback, type Address, type Target } from '../contracts/address.js';
import { machineAddresses } from '../contracts/machine.js';

/**
 * Selects the local address of a connection, as the option `localAddress` of Node.js.
 * @param configured Configured address, as in `S2DSRequest.localAddress`.
 * @param target The host must be an IP literal or a name. For a name, the system selects the address.
 * @returns an empty object if the families differ, or if only one of both addresses is on the loopback interface: the
 * system then selects the local address
 */
export function localAddressFor(
  configured: string | undefined,
  { host }: Pick<Address, 'host'>,
): { readonly localAddress?: string } {
  if (configured === undefined || isIP(configured) !== isIP(host) || isLoopback(configured) !== isLoopback(host))
    return {};
  return { localAddress: configured };
}

/**
 * Selects the addresses of a target for a proxy that connects to all of them from one local address: the first, and those
 * for which {@link localAddressFor} gives the same result.
 */
export function addressesFrom(configured: string | undefined, target: Target): readonly Address[] {
  const local = localAddressFor(configured, target).localAddress;
  return addressesOf(target).filter((address) => localAddressFor(configured, address).localAddress === local);
}

/** Returns true for an IP literal of this machine that is not unspecified. */
export const isLocalAddress = (host: string): boolean => isLoopback(host) || machineAddresses().includes(host);
