import { once } from 'node:events';
import type { Server } from 'node:net';
import { formatAddress, type Address } from '../contracts/address.js';
import { messageOf, SciStreamError, systemCode } from '../contracts/errors.js';

/**
 * Listens on host:port.
 * @param advice What to change in the configuration if the address cannot be used.
 * @throws SCI_LISTEN_FAILED
 */
export async function listenOn(server: Server, address: Address, advice: string): Promise<void> {
  server.listen({ host: address.host, port: address.port, exclusive: true });
  await once(server, 'listening').catch((cause: unknown) => {
    const taken = `Find the program that listens there: ss -ltnp 'sport = :${address.port}'`;
    throw new SciStreamError('SCI_LISTEN_FAILED', `Cannot listen on ${formatAddress(address)}: ${messageOf(cause)}.`, {
      cause,
      suggestions: systemCode(cause) === 'EADDRINUSE' ? [taken, advice] : [advice],
    });
  });
}
