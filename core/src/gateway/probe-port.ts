import { timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Address } from '../contracts/address.js';
import type { StreamTls } from '../contracts/stream.js';
import { within } from '../contracts/wait.js';
import type { Sources } from '../relay/sources.js';

/** Maximum time that a probe port is open, ms. */
export const PROBE_LIFE_MS = 10_000;
/** Half of a challenge in hexadecimal characters: the prober sends one half, the answer is the other. */
export const HALF = 32;

/** Answers one probe. Resolves when the answer is sent, and rejects for a peer that is not the other gateway. */
export type Respond = (socket: Socket) => Promise<void>;

/** Answers the first half of a challenge with the second one. */
export async function answerChallenge(socket: Socket, challenge: string): Promise<void> {
  const half = await readExactly(socket, HALF);
  if (!equal(half, challenge.slice(0, HALF))) throw new Error('not the challenge');
  await new Promise<void>((resolve) => socket.end(challenge.slice(HALF), resolve));
}

/** Answers as an inbound proxy does: one byte to a client whose certificate it accepts. */
export function encrypted({ certificate: cert, key, ca }: StreamTls): Respond {
  const options = { cert, key, ca, minVersion: 'TLSv1.3', requestCert: true, rejectUnauthorized: true } as const;
  return (socket) =>
    new Promise((resolve, reject) => {
      // It does not listen. It gets an accepted socket as a `connection` event, which Node.js documents.
      const server = createTlsServer(options, (secure) => {
        // The other gateway closes the connection when it has the byte.
        secure
          .on('error', reject)
          .once('close', () => resolve())
          .resume()
          .write('\n');
      });
      server.on('tlsClientError', reject).emit('connection', socket);
    });
}

/** Answers probes on an address until one is right, the time is over, or `signal` aborts. The port serves nothing else. */
export async function answerProbe(
  address: Address,
  respond: Respond,
  sources: Sources | undefined,
  signal: AbortSignal,
): Promise<{ readonly closed: Promise<void> }> {
  const server = createServer();
  server.listen({ ...address, exclusive: true });
  await once(server, 'listening');
  // The prober notices a failed accept (EMFILE); without this handler it would end the process.
  server.on('error', () => undefined);
  return { closed: serveProbe(server, respond, sources, signal) };
}

async function serveProbe(
  server: Server,
  respond: Respond,
  sources: Sources | undefined,
  signal: AbortSignal,
): Promise<void> {
  const sockets = new Set<Socket>();
  const done = new AbortController();
  const over = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true, signal: done.signal });
    server.on('connection', (socket) => {
      if (sources?.allow(socket.remoteAddress) === false) {
        socket.on('error', () => undefined).resetAndDestroy();
        return;
      }
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => sockets.delete(socket));
      respond(socket).then(resolve, () => socket.destroy());
    });
  });
  await within(over, PROBE_LIFE_MS, () => new Error('expired')).catch(() => undefined);
  // Removes the listener: the signal lasts as long as the stream, which may have many probes.
  done.abort();
  const closed = once(server, 'close');
  server.close();
  for (const socket of sockets) if (!socket.writableEnded) socket.destroy();
  await closed;
}

export function readExactly(socket: Socket, length: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
      if (text.length >= length) resolve(text);
    });
    socket.once('close', () => reject(new Error('connection closed before the answer')));
  });
}

export function equal(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}
