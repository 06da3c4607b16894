import { rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import type { Listener } from './listener.js';
import { parseRequest } from './parse.js';
import { CONTROL_SOCKET, MAX_LINE_BYTES, type ControlReply } from './protocol.js';

/**
 * Serves the control socket in the working directory; call once, when every listener accepts. A file left by a killed
 * predecessor is replaced: the directory belongs to one worker. The process umask decides the file mode.
 * @returns when the socket answers
 */
export function serveControl(listeners: readonly Listener[]): Promise<void> {
  rmSync(CONTROL_SOCKET, { force: true });
  const server = createServer((socket) => converse(socket, (line) => answer(line, listeners)));
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(CONTROL_SOCKET, () => {
      server.off('error', reject);
      // A failed accept (EMFILE) leaves the parent without an answer, and it asks again.
      server.on('error', () => undefined);
      resolve();
    });
  });
}

function answer(line: string, listeners: readonly Listener[]): ControlReply {
  try {
    const request = parseRequest(line, listeners.length);
    if (request.cmd === 'status') {
      return { ok: true, pid: process.pid, listeners: listeners.map(({ counters }) => counters) };
    }
    listeners.forEach((listener, i) => listener.retarget(request.targets[i]));
    return { ok: true };
  } catch (error) {
    return { ok: false, error: error instanceof Error ? error.message : String(error) };
  }
}

function converse(socket: Socket, reply: (line: string) => ControlReply): void {
  let rest: Buffer = Buffer.alloc(0);
  // The parent is free to go at any time; the connection is of no use then.
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf('\n'); end !== -1 && end <= MAX_LINE_BYTES; end = rest.indexOf('\n')) {
      const line = rest.toString('utf8', 0, end);
      rest = rest.subarray(end + 1);
      // Who asks without reading the answers is not asked for more.
      if (!socket.write(`${JSON.stringify(reply(line))}\n`)) {
        socket.pause();
        socket.once('drain', () => socket.resume());
      }
    }
    if (rest.length > MAX_LINE_BYTES) socket.destroy();
  });
}
