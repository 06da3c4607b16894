/**
 * `node echo.js HOST COUNT`: listens on COUNT ports of HOST, prints them as JSON, and sends everything back until its
 * input ends. It is a separate process, so that it does not share a thread with the measuring client.
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
