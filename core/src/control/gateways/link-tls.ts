import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { connect, createSecureContext, type TLSSocket } from 'node:tls';
import { parseAddress } from '../../contracts/address.js';
import { messageOf, SciStreamError } from '../../contracts/errors.js';
import { mustBeTrusted } from '../../contracts/trust.js';

const KEEPALIVE_MS = 30_000;

/** PEM files with which a control server and a gateway authenticate each other. */
export interface LinkTls {
  /** The authority that has signed the certificate of the gateway. */
  readonly ca: string;
  /** The certificate of the control server. */
  readonly cert: string;
  readonly key: string;
}

/**
 * Checks the files before the first connection.
 * @param gateway Its name, for errors.
 * @throws SCI_CONFIG_INVALID if a file cannot be read or used; SCI_FILE_UNTRUSTED
 */
export async function checkLinkTls(gateway: string, { ca, cert, key }: LinkTls): Promise<void> {
  mustBeProtected({ ca, cert, key });
  try {
    const [authority, own, secret] = await Promise.all([ca, cert, key].map((file) => readFile(file)));
    createSecureContext({ ca: authority, cert: own, key: secret });
  } catch (cause) {
    const why = messageOf(cause);
    throw new SciStreamError(
      'SCI_CONFIG_INVALID',
      `gateways: the files in tls of gateway ${gateway} cannot be used: ${why}.`,
      {
        cause,
        suggestions: [`Inspect them: scistream cert show ${cert} --as client --key ${key}`],
      },
    );
  }
}

/**
 * Connects to a gateway with mutual TLS 1.3. Reads the files for each connection, so that renewed ones are used.
 * @param where host:port. The certificate of the gateway must be valid for this host.
 * @throws The error of `node:fs` if a file cannot be read; SCI_FILE_UNTRUSTED
 */
export function connectLink(where: string, { ca, cert, key }: LinkTls): TLSSocket {
  mustBeProtected({ ca, cert, key });
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

function mustBeProtected({ ca, cert, key }: LinkTls): void {
  for (const file of [ca, cert]) mustBeTrusted(file);
  mustBeTrusted(key, { secret: 'group' });
}
