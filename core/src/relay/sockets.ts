import { readSync } from 'node:fs';
import { Socket } from 'node:net';
import type { OnReadOpts, SocketConstructorOpts } from 'node:net';

/** One end of a connection: the socket of the payload and its TCP socket. Both are the same without encryption. */
export interface Leg {
  readonly socket: Socket;
  readonly wire: Socket;
}

/** Receives the bytes of a leg. */
interface Reader {
  readonly onread: OnReadOpts;
  /** Sets the leg that is read. */
  from(leg: Leg): void;
  push(chunk: Buffer): void;
}

/** Private field of a Node.js socket. Every use has a fallback if a later version removes it. */
interface WithHandle {
  _handle?: { readonly fd?: number } | null;
}

const ONE_BYTE = Buffer.alloc(1);

/**
 * Makes an accepted, paused socket read through the flow. Only the constructor of a socket takes `onread`, so it
 * creates a new socket with the handle of the accepted one. Without a handle, the flow gets stream chunks.
 * @returns the leg that replaces `accepted`
 */
export function adopt(accepted: Socket, flow: Reader): Leg {
  const inner = accepted as unknown as WithHandle;
  if (!inner._handle) return adoptStream({ socket: accepted, wire: accepted }, flow);
  const options: SocketConstructorOpts & { handle: object; onread: OnReadOpts } = {
    handle: inner._handle,
    allowHalfOpen: true,
    onread: flow.onread,
  };
  const socket = new Socket(options);
  inner._handle = null;
  const leg = { socket, wire: socket };
  flow.from(leg);
  return leg;
}

/** Makes a flow read a socket that was created without `onread`. */
export function adoptStream(leg: Leg, flow: Reader): Leg {
  flow.from(leg);
  leg.socket.on('data', (chunk: Buffer) => flow.push(chunk));
  leg.socket.resume();
  return leg;
}

/**
 * Returns the error that an `end` event hides. If a reset arrives while data are unread, libuv (`uv__stream_io`,
 * POLLHUP after a partial read) reports the end of the stream, and a truncated stream would look complete. Another read
 * of the descriptor returns 0 after a FIN and fails after a reset. Call it in the handler of `end`. A TLS stream also
 * ends with close_notify, regardless of later data (RFC 8446 §6.1), or with a FIN alone, because nginx half-closes that
 * way.
 */
export function errorBehindEnd({ socket, wire }: Leg): Error | undefined {
  const fd = (wire as unknown as WithHandle)._handle?.fd;
  if (fd === undefined || fd < 0) return undefined;
  const encrypted = socket !== wire;
  try {
    return readSync(fd, ONE_BYTE) === 0 || encrypted ? undefined : new Error('data after the end of the stream');
  } catch (error) {
    if (encrypted && (error as NodeJS.ErrnoException).code === 'EAGAIN') return undefined;
    return error instanceof Error ? error : new Error(String(error));
  }
}

/**
 * Returns true if the kernel chose the target port as the local port and connected the socket to itself (RFC 9293
 * §3.5).
 */
export function isSelfConnected({ wire }: Leg): boolean {
  return wire.localPort === wire.remotePort && wire.localAddress === wire.remoteAddress;
}

/**
 * Closes a leg so that the peer sees an error, unless it was never connected or all data and the FIN were sent. With
 * TLS the TCP connection is reset too, because a close would look like the end of the stream.
 */
export function reset({ socket, wire }: Leg): void {
  const shuttingDown = socket.writableEnded && socket.writableLength === 0 && !socket.writableFinished;
  // libuv does not reset a socket during its shutdown, and Node.js would leak the handle.
  if (wire.connecting || shuttingDown) wire.destroy();
  else wire.resetAndDestroy();
  if (socket !== wire) socket.destroy();
}
