import { rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import type { Listener } from './listener.js';
import { parseRequest } from './parse.js';
import { CONTROL_SOCKET, MAX_LINE_BYTES, type ControlReply } from './protocol.js';
import type { Reasons } from './reasons.js';

/**
 * Serves the control socket in the working directory. Call it once, after all listeners accept connections. It replaces
 * the socket file of a killed predecessor, because one worker uses the directory. The umask sets the file mode.
 * Resolves when the socket accepts connections.
 */
export function serveControl(
  listeners: readonly Listener[],
  maxConnections: number | undefined,
  reasons: Reasons,
): Promise<void> {
  rmSync(CONTROL_SOCKET, { force: true });
  const server = createServer((socket) => converse(socket, (line) => answer(line, listeners, maxConnections, reasons)));
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(CONTROL_SOCKET, () => {
      server.off('error', reject);
      // After a failed accept (EMFILE) the parent gets no reply and retries.
      server.on('error', () => undefined);
      resolve();
    });
  });
}

function answer(
  line: string,
  listeners: readonly Listener[],
  maxConnections: number | undefined,
  { latest }: Reasons,
): ControlReply {
  try {
    const request = parseRequest(line, listeners.length);
    if (request.cmd === 'status') {
      const known = {
        ...(maxConnections === undefined ? {} : { maxConnections }),
        ...(latest && { tlsFailure: latest }),
      };
      return { ok: true, pid: process.pid, ...known, listeners: listeners.map(({ counters }) => counters) };
    }
    listeners.forEach((listener, i) => listener.retarget(request.targets[i]));
    return { ok: true };
  } catch (error) {
    return { ok: false, error: error instanceof Error ? error.message : String(error) };
  }
}

function converse(socket: Socket, reply: (line: string) => ControlReply): void {
  let rest: Buffer = Buffer.alloc(0);
  // The parent may close the connection at any time.
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf('\n'); end !== -1 && end <= MAX_LINE_BYTES; end = rest.indexOf('\n')) {
      const line = rest.toString('utf8', 0, end);
      rest = rest.subarray(end + 1);
      // Stop reading from a parent that does not read the replies.
      if (!socket.write(`${JSON.stringify(reply(line))}\n`)) {
        socket.pause();
        socket.once('drain', () => socket.resume());
      }
    }
    if (rest.length > MAX_LINE_BYTES) socket.destroy();
  });
}
