import { readSync } from 'node:fs';
import { Socket } from 'node:net';
import type { OnReadOpts, SocketConstructorOpts } from 'node:net';
import type { Flow } from './flow.js';

/** What Node keeps private of a socket; every use has an answer for the day it is gone. */
interface WithHandle {
  _handle?: { readonly fd?: number } | null;
}

const ONE_BYTE = Buffer.alloc(1);

/**
 * Makes an accepted, paused socket read through the flow. Only the constructor takes `onread`, so the socket is made
 * anew around the handle of the accepted one; without a handle, data come as stream chunks.
 * @returns the socket to use from now on
 */
export function adopt(accepted: Socket, flow: Flow): Socket {
  const inner = accepted as unknown as WithHandle;
  if (!inner._handle) {
    flow.from(accepted);
    accepted.on('data', (chunk: Buffer) => {
      if (!flow.push(chunk)) accepted.pause();
    });
    accepted.resume();
    return accepted;
  }
  const options: SocketConstructorOpts & { handle: object; onread: OnReadOpts } = {
    handle: inner._handle,
    allowHalfOpen: true,
    onread: flow.onread,
  };
  const socket = new Socket(options);
  inner._handle = null;
  flow.from(socket);
  return socket;
}

/**
 * The error behind an `end` that was none. When a reset arrives while data are still unread, libuv (`uv__stream_io`,
 * POLLHUP after a partial read) reports the end of the stream instead: a truncated stream would pass for a complete
 * one. The kernel knows better: another read gives 0 after a FIN and the error after a reset. Call it on `end`.
 */
export function errorBehindEnd(socket: Socket): Error | undefined {
  const fd = (socket as unknown as WithHandle)._handle?.fd;
  if (fd === undefined || fd < 0) return undefined;
  try {
    return readSync(fd, ONE_BYTE) === 0 ? undefined : new Error('data after the end of the stream');
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** The kernel chose the port it was to connect to as our own and joined the socket to itself (RFC 9293 section 3.5). */
export function isSelfConnected(socket: Socket): boolean {
  return socket.localPort === socket.remotePort && socket.localAddress === socket.remoteAddress;
}

/** Closes so that the peer sees an error, except where it has been sent everything and its FIN, or never connected. */
export function reset(socket: Socket): void {
  const shuttingDown = socket.writableEnded && socket.writableLength === 0 && !socket.writableFinished;
  // libuv refuses to reset a socket while its shutdown is under way, and Node would then leak the handle.
  if (socket.connecting || shuttingDown) socket.destroy();
  else socket.resetAndDestroy();
}
