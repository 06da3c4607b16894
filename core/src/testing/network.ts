import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { finished } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Address } from '../contracts/address.js';

const BLOCK_BYTES = 1024 * 1024;
const SMALL_BLOCK_BYTES = 32 * 1024;
const SMALL_BLOCK_PAUSE_MS = 2;

/** A TCP server for tests. */
export interface TestServer extends AsyncDisposable {
  readonly address: Address;
  /** Number of connections accepted so far. */
  readonly accepted: number;
  /** Closes the listener and every connection. Idempotent. */
  close(): Promise<void>;
}

/**
 * Listens on a free port and passes every connection to `handler`. Connections are half-open capable (`allowHalfOpen`),
 * so the handler must end its own side. Errors of a connection destroy its socket, because tests break connections on
 * purpose.
 * @param host IP literal, default 127.0.0.1.
 */
export async function tcpServer(handler: (socket: Socket) => void, host = '127.0.0.1'): Promise<TestServer> {
  const open = new Set<Socket>();
  let accepted = 0;
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    accepted += 1;
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    socket.on('error', () => socket.destroy());
    handler(socket);
  });
  server.listen({ host, port: 0, exclusive: true });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    for (const socket of open) socket.destroy();
    if (server.listening) await new Promise((done) => server.close(done));
  };
  return {
    address: { host, port },
    get accepted() {
      return accepted;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A handler that sends all bytes back. */
export const echo = (socket: Socket): void => void socket.pipe(socket);

/** A handler that sends `name` (one letter, for `exchange`) and then sends all bytes back. */
export const named =
  (name: string) =>
  (socket: Socket): void => {
    socket.write(name);
    echo(socket);
  };

/** Connects with `allowHalfOpen`. Rejects with the error of the connection. */
export async function dial({ host, port }: Address): Promise<Socket> {
  const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
  await once(socket, 'connect');
  // A broken connection shows when it is read; without a listener the error would end the process.
  socket.on('error', () => socket.destroy());
  return socket;
}

/** Reads exactly `length` bytes as text and leaves the rest in the socket. @throws if the connection ends earlier */
export async function read(socket: Socket, length: number): Promise<string> {
  let got = Buffer.alloc(0);
  for (;;) {
    // Read everything: "readable" is emitted repeatedly while bytes stay in the buffer.
    const chunk = socket.read() as Buffer | null;
    if (chunk) got = Buffer.concat([got, chunk]);
    if (got.length >= length) break;
    if (socket.readableEnded || socket.destroyed)
      throw new Error(`The connection ended before ${length} bytes arrived.`);
    const settled = new AbortController();
    const events = ['readable', 'close'].map((event) => once(socket, event, { signal: settled.signal }));
    await Promise.race(events).finally(() => settled.abort());
  }
  if (got.length > length) socket.unshift(got.subarray(length));
  return got.toString('utf8', 0, length);
}

/** Connects to a {@link named} server, sends `text`, and returns the name and the echoed text. */
export async function exchange(address: Address, text: string): Promise<string> {
  const socket = await dial(address);
  try {
    socket.write(text);
    return await read(socket, 1 + text.length);
  } finally {
    socket.destroy();
  }
}

/** Bytes transferred in one direction of a connection. */
export interface Flow {
  readonly bytes: number;
  readonly sha256: string;
}

/** Awaited after everything is written, before the sender ends its side. @param sent Number of bytes */
export type BeforeEnd = (sent: number) => Promise<unknown>;

/**
 * Sends random blocks with backpressure and ends the sending side.
 * @param onBlock Receives the number of bytes sent after each block; returning false ends the sending early.
 */
export function sendRandom(
  socket: Socket,
  bytes: number,
  onBlock?: (sent: number) => unknown,
  beforeEnd?: BeforeEnd,
): Promise<Flow> {
  return send(socket, (sent) => Math.min(BLOCK_BYTES, bytes - sent), onBlock, beforeEnd);
}

/**
 * Sends random blocks while `going` returns true, and ends the sending side. The rate is about 10 MB/s, so that several
 * such connections do not saturate the machine.
 */
export function sendWhile(socket: Socket, going: () => boolean, beforeEnd?: BeforeEnd): Promise<Flow> {
  const pause = (): Promise<void> => sleep(SMALL_BLOCK_PAUSE_MS);
  return send(socket, () => (going() ? SMALL_BLOCK_BYTES : 0), pause, beforeEnd);
}

/** @param next Returns the size of the next block; 0 ends the sending side. */
async function send(
  socket: Socket,
  next: (sent: number) => number,
  onBlock?: (sent: number) => unknown,
  beforeEnd?: BeforeEnd,
): Promise<Flow> {
  const hash = createHash('sha256');
  const random = randomBytes(BLOCK_BYTES);
  let sent = 0;
  for (let length = next(0); length > 0; length = next(sent)) {
    // Numbered, so that reordered blocks change the hash.
    const block = Buffer.from(random.subarray(0, length));
    if (length >= Float64Array.BYTES_PER_ELEMENT) block.writeDoubleBE(sent);
    hash.update(block);
    sent += block.length;
    if (!socket.write(block)) await drained(socket);
    if ((await onBlock?.(sent)) === false) break;
  }
  await beforeEnd?.(sent);
  socket.end();
  return { bytes: sent, sha256: hash.digest('hex') };
}

/** @throws if the connection closes before the buffer drained */
async function drained(socket: Socket): Promise<void> {
  const settled = new AbortController();
  const closed = once(socket, 'close', { signal: settled.signal }).then(() => {
    throw new Error('The connection closed during a write.');
  });
  await Promise.race([once(socket, 'drain', { signal: settled.signal }), closed]).finally(() => settled.abort());
}

/** Reads until the other side ends. @throws if the connection breaks earlier */
export async function receiveAll(socket: Socket): Promise<Flow> {
  const hash = createHash('sha256');
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  await finished(socket, { writable: false });
  return { bytes, sha256: hash.digest('hex') };
}
