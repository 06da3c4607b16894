import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';

/** The program: node forwarder.mjs CONFIG. Rereads its targets on SIGHUP; open connections keep theirs. */
const [file = 'forward.json'] = process.argv.slice(2);
const read = () => JSON.parse(readFileSync(file, 'utf8'));
const { listeners, backlog, ...first } = read();
let { targets } = first;

/** Prints the line that the host waits for: the targets of the file are active. */
function announce() {
  process.stdout.write(`targets ${JSON.stringify(targets)}\n`);
}

process.on('SIGHUP', () => {
  ({ targets } = read());
  announce();
});

await Promise.all(
  listeners.map(({ host, port, fd }, i) => {
    const server = createServer({ allowHalfOpen: true }, (client) => forward(client, targets[i]));
    server.listen(fd === undefined ? { host, port, backlog, exclusive: true } : { fd });
    return once(server, 'listening');
  }),
);
announce();

async function forward(client, target) {
  client.on('error', () => client.destroy());
  if (target === undefined) {
    client.resume().end();
    return;
  }
  const server = await reach(target);
  if (server === undefined || client.destroyed) {
    client.destroy();
    server?.destroy();
    return;
  }
  server.on('error', () => client.destroy());
  server.on('close', (failed) => failed && client.destroy());
  client.on('close', () => server.destroy());
  client.setKeepAlive(true);
  server.setKeepAlive(true);
  client.pipe(server);
  server.pipe(client);
}

/** Connects to the first address of a target that accepts the connection. */
async function reach({ host, port, fallbacks = [] }) {
  for (const address of [host, ...fallbacks]) {
    const socket = connect({ host: address, port, allowHalfOpen: true });
    try {
      await once(socket, 'connect');
      return socket;
    } catch {
      socket.destroy();
    }
  }
  return undefined;
}
