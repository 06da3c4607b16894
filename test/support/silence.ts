import { readFile } from 'node:fs/promises';
import { connect } from 'node:tls';
import type { CertificateFiles } from './authority.js';

/** What a server did with a connection. */
export interface Heard {
  /** Bytes that it sent after the handshake. */
  readonly bytes: number;
  /** Whether it closed the connection. */
  readonly ended: boolean;
}

/** The client preface of HTTP/2 (RFC 9113 section 3.4) with empty settings. */
const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);

/**
 * Opens a connection without verifying the server, sends the HTTP/2 preface, and waits for the first bytes or the end.
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
