import { readFile } from 'node:fs/promises';
import { connect } from 'node:tls';
import type { CertificateFiles } from './authority.js';

/** What a server did with a connection. */
export interface Heard {
  /** Of what it sent after the handshake. */
  readonly bytes: number;
  /** Whether it ended the connection. */
  readonly ended: boolean;
}

/** HTTP/2 begins with these words of the client (RFC 9113 section 3.4) and empty settings. */
const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);

/**
 * Opens a connection as somebody who does not mind whose server it is, begins HTTP/2, and waits for the first answer or
 * the end.
 */
export async function knock(
  { host, port }: { readonly host: string; readonly port: number },
  files?: CertificateFiles,
  maxVersion: 'TLSv1.2' | 'TLSv1.3' = 'TLSv1.3',
): Promise<Heard> {
  const own = files && { cert: await readFile(files.cert), key: await readFile(files.key) };
  const socket = connect({ host, port, ...own, maxVersion, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  let bytes = 0;
  socket.on('secureConnect', () => socket.write(PREFACE));
  const ended = await new Promise<boolean>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      resolve(false);
    });
    // A reset and an alert are ends, too.
    socket.on('error', () => resolve(true)).on('close', () => resolve(true));
  });
  socket.destroy();
  return { bytes, ended };
}
