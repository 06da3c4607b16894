/**
 * The baseline of the relay: what anybody writes in ten lines of Node.js. `node pipe.js HOST TARGET...` listens on a free
 * port of HOST for each host:port, prints the ports as JSON and forwards until its input ends. As fast as it can be
 * without leaving `pipe`: no Nagle, no other work, and half-open connections as the relay has them.
 */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

const [host, ...targets] = process.argv.slice(2);

function forward(client, target) {
  const server = connect({ ...target, allowHalfOpen: true, noDelay: true });
  client.on('error', () => server.destroy());
  server.on('error', () => client.destroy());
  client.pipe(server);
  server.pipe(client);
}

async function listen(target) {
  const [name, port] = target.split(':');
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) =>
    forward(client, { host: name, port: Number(port) }),
  );
  server.listen(0, host);
  await once(server, 'listening');
  return server.address().port;
}

process.stdin.on('end', () => process.exit(0)).resume();
process.stdout.write(`${JSON.stringify(await Promise.all(targets.map(listen)))}\n`);
