import { once } from 'node:events';
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import type { Server } from 'node:net';
import type { TlsOptions, TLSSocket } from 'node:tls';
import { parseAddress } from '../contracts/address.js';
import { messageOf, SciStreamError, systemCode } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import { readKeyPair } from '../serving/certificate.js';
import { clientTrust } from '../serving/client-certificates.js';

/** The keys of the same names in the configuration: PEM files. */
export interface DaemonTls {
  readonly cert: string;
  readonly key: string;
  /** Of the authority that signs the certificates of control servers. */
  readonly clientCa: string;
}

/** What such a server needs, at its start and whenever the files are read anew. @throws SCI_CONFIG_INVALID naming the file */
export const mutualTls = async (tls: DaemonTls): Promise<TlsOptions> => ({
  ...(await readKeyPair(tls)),
  ...(await clientTrust({ clientCa: tls.clientCa, requireClientCertificate: true })),
});

/**
 * An HTTP/2 server with mutual TLS 1.3: a peer without a certificate of the authority is cut before anything it says is
 * read.
 * @throws SCI_CONFIG_INVALID naming the file
 */
export async function mutualTlsServer(
  tls: DaemonTls,
  handler: (request: Http2ServerRequest, response: Http2ServerResponse) => void,
  log: Logger,
): Promise<Http2SecureServer> {
  const server = createSecureServer(await mutualTls(tls), handler);
  server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
    const why = String(socket.authorizationError ?? systemCode(error) ?? error.message);
    log.info({ error: why }, 'a connection was refused: no certificate of tls.clientCa');
  });
  server.on('sessionError', (error: Error) => log.debug({ error: error.message }, 'session broke'));
  return server;
}

/** Listens on host:port. @throws SCI_LISTEN_FAILED */
export async function listenOn(server: Server, address: string): Promise<void> {
  const { host, port } = parseAddress(address);
  server.listen({ host, port, exclusive: true });
  await once(server, 'listening').catch((cause: unknown) => {
    throw new SciStreamError('SCI_LISTEN_FAILED', `Cannot listen on ${address}: ${messageOf(cause)}.`, {
      cause,
      suggestions: ['Set listen to a free port on an address of this machine, or to unix:/PATH.'],
    });
  });
}
