import { once } from 'node:events';
import { chmod, lstat, rm } from 'node:fs/promises';
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import type { TlsOptions, TLSSocket } from 'node:tls';
import { messageOf, SciStreamError, systemCode } from '../contracts/errors.js';
import { makeDirectory } from '../contracts/files.js';
import type { Logger } from '../contracts/logger.js';
import { readKeyPair } from '../serving/certificate.js';
import { clientTrust } from '../serving/client-certificates.js';

/** The keys of the same names in the configuration: PEM files. */
export interface DaemonTls {
  readonly cert: string;
  readonly key: string;
  /** The authority that signs the certificates of control servers. */
  readonly clientCa: string;
}

/** Reads the files of a server with mutual TLS. @throws SCI_CONFIG_INVALID naming the file */
export const mutualTls = async (tls: DaemonTls): Promise<TlsOptions> => ({
  ...(await readKeyPair(tls)),
  ...(await clientTrust({ clientCa: tls.clientCa, requireClientCertificate: true })),
});

/**
 * Creates an HTTP/2 server with mutual TLS 1.3. Peers without a certificate signed by `clientCa` are rejected during the
 * handshake.
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
    log.info({ peer: socket.remoteAddress, error: why }, 'TLS handshake failed');
  });
  server.on('sessionError', (error: Error) => log.debug({ error: error.message }, 'session failed'));
  return server;
}

/** Listens on a unix socket, mode 0600, and replaces the socket file of a process that has ended. @throws SCI_LISTEN_FAILED */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  try {
    await makeDirectory(dirname(path));
    await removeStale(path);
    // `listen` binds before it returns. If the mask stayed longer, files that other code creates would get it too.
    const before = process.umask(0o177);
    try {
      server.listen(path);
    } finally {
      process.umask(before);
    }
    await once(server, 'listening');
    await chmod(path, 0o600);
  } catch (error) {
    throw new SciStreamError('SCI_LISTEN_FAILED', `Cannot listen on ${path}: ${messageOf(error)}.`, {
      cause: error,
      suggestions: ['Set listen to unix:/PATH in a directory that the daemon can write to.'],
    });
  }
}

/** @throws when a program listens on the path, or the file is not a socket */
async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (!found) return;
  if (!found.isSocket()) throw new Error('the file exists and is not a socket');
  const socket = connect(path);
  const answer = await once(socket, 'connect').catch(systemCode);
  socket.destroy();
  if (answer !== 'ECONNREFUSED') throw new Error('another program listens there');
  await rm(path, { force: true });
}
