import { readSync } from 'node:fs';
import { Socket } from 'node:net';
import type { OnReadOpts, SocketConstructorOpts } from 'node:net';

/** One end of a connection: what carries the payload, and the TCP socket under it; the same where not encrypted. */
export interface Leg {
  readonly socket: Socket;
  readonly wire: Socket;
}

/** Where the bytes that a leg receives go. */
interface Reader {
  readonly onread: OnReadOpts;
  /** Names the leg that is read. */
  from(leg: Leg): void;
  push(chunk: Buffer): void;
}

/** What Node keeps private of a socket; every use has an answer for the day it is gone. */
interface WithHandle {
  _handle?: { readonly fd?: number } | null;
}

const ONE_BYTE = Buffer.alloc(1);

/**
 * Makes an accepted, paused socket read through the flow. Only the constructor takes `onread`, so the socket is made
 * anew around the handle of the accepted one; without a handle, data come as stream chunks.
 * @returns the leg to use from now on
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

/** Lets a flow read a socket that was made without `onread`. */
export function adoptStream(leg: Leg, flow: Reader): Leg {
  flow.from(leg);
  leg.socket.on('data', (chunk: Buffer) => flow.push(chunk));
  leg.socket.resume();
  return leg;
}

/**
 * The error behind an `end` that was none. When a reset arrives while data are still unread, libuv (`uv__stream_io`,
 * POLLHUP after a partial read) reports the end of the stream instead: a truncated stream would pass for a complete
 * one. The kernel knows better: another read gives 0 after a FIN and the error after a reset. Call it on `end`.
 * A TLS stream also ends with its close_notify, whatever comes or does not come after it (RFC 8446 section 6.1). That a
 * mere FIN ends it too is for nginx, which as a server half-closes like that.
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

/** The kernel chose the port it was to connect to as our own and joined the socket to itself (RFC 9293 section 3.5). */
export function isSelfConnected({ wire }: Leg): boolean {
  return wire.localPort === wire.remotePort && wire.localAddress === wire.remoteAddress;
}

/**
 * Closes so that the peer sees an error, except where it has been sent everything and its FIN, or never connected. Under
 * TLS too it is the TCP connection that is reset: a mere close could be taken for an end.
 */
export function reset({ socket, wire }: Leg): void {
  const shuttingDown = socket.writableEnded && socket.writableLength === 0 && !socket.writableFinished;
  // libuv refuses to reset a socket while its shutdown is under way, and Node would then leak the handle.
  if (wire.connecting || shuttingDown) wire.destroy();
  else wire.resetAndDestroy();
  if (socket !== wire) socket.destroy();
}
