/**
 * `node echo.js HOST COUNT`: sends everything back on COUNT ports of HOST, which it prints as JSON, until its input ends.
 * A process of its own, so that it does not share a thread with the client that takes the time.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';

async function listen(host: string): Promise<number> {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  server.listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

const [host = '127.0.0.1', count = '1'] = process.argv.slice(2);
process.stdin.on('end', () => process.exit(0)).resume();
const ports = await Promise.all(Array.from({ length: Number(count) }, () => listen(host)));
process.stdout.write(`${JSON.stringify(ports)}\n`);
