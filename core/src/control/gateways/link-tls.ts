import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { connect, createSecureContext, type TLSSocket } from 'node:tls';
import { parseAddress } from '../../contracts/address.js';
import { messageOf, SciStreamError } from '../../contracts/errors.js';

const KEEPALIVE_MS = 30_000;

/** PEM files by which a control server and a data server recognise each other. */
export interface LinkTls {
  /** Of the authority that has signed the data server's certificate. */
  readonly ca: string;
  /** Of the control server. */
  readonly cert: string;
  readonly key: string;
}

/** @param gateway Named in errors. @throws SCI_CONFIG_INVALID when a file cannot be read or used */
export async function checkLinkTls(gateway: string, { ca, cert, key }: LinkTls): Promise<void> {
  try {
    const [authority, own, secret] = await Promise.all([ca, cert, key].map((file) => readFile(file)));
    createSecureContext({ ca: authority, cert: own, key: secret });
  } catch (cause) {
    const why = messageOf(cause);
    throw new SciStreamError('SCI_CONFIG_INVALID', `gateways: tls of ${gateway} cannot be used: ${why}.`, {
      cause,
      suggestions: [`Look at them: scistream cert show ${cert} --as client --key ${key}`],
    });
  }
}

/**
 * Connects to a data server with mutual TLS 1.3. The files are read for each connection, so that renewed ones are used.
 * @param where host:port; the certificate has to be for this host.
 * @throws what reading the files throws
 */
export function connectLink(where: string, { ca, cert, key }: LinkTls): TLSSocket {
  const address = parseAddress(where);
  const socket = connect({
    ...address,
    ...(isIP(address.host) === 0 && { servername: address.host }),
    ca: readFileSync(ca),
    cert: readFileSync(cert),
    key: readFileSync(key),
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2'],
  });
  return socket.setKeepAlive(true, KEEPALIVE_MS);
}
