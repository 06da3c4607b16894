import { networkInterfaces } from 'node:os';

/** Returns the addresses of all interfaces of this machine, as IP literals without zones. */
export const machineAddresses = (): readonly string[] =>
  Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address));
