/**
 * The baseline of the relay: a forwarder in a few lines of Node.js. `node pipe.js HOST ROLE TARGET...` listens on a free
 * port of HOST for each host:port, prints the ports as JSON and forwards until its input ends. ROLE is `plain`, or `server`
 * or `client` of mutual TLS 1.3 with certificate.pem, key.pem and ca.pem of the working directory; PEER is the required
 * name of the server. It is as fast as `pipe` allows: no Nagle algorithm, no other work, and half-open connections like the
 * relay.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import * as net from 'node:net';
import * as tls from 'node:tls';

const [host, role, ...targets] = process.argv.slice(2);
const options = { allowHalfOpen: true, noDelay: true };
const credentials =
  role === 'plain'
    ? {}
    : {
        cert: readFileSync('certificate.pem'),
        key: readFileSync('key.pem'),
        ca: readFileSync('ca.pem'),
        minVersion: 'TLSv1.3',
        ciphers: 'TLS_AES_128_GCM_SHA256',
        requestCert: true,
        rejectUnauthorized: true,
        servername: process.env.PEER,
      };
const createServer =
  role === 'server'
    ? (...handler) => tls.createServer({ ...options, ...credentials }, ...handler)
    : (...handler) => net.createServer(options, ...handler);
const connect = role === 'client' ? tls.connect : net.connect;

function forward(client, target) {
  const server = connect({ ...target, ...options, ...(role === 'client' ? credentials : {}) });
  client.on('error', () => server.destroy());
  server.on('error', () => client.destroy());
  client.pipe(server);
  server.pipe(client);
}

async function listen(target) {
  const [name, port] = target.split(':');
  const server = createServer((client) => forward(client, { host: name, port: Number(port) }));
  server.listen(0, host);
  await once(server, 'listening');
  return server.address().port;
}

process.stdin.on('end', () => process.exit(0)).resume();
process.stdout.write(`${JSON.stringify(await Promise.all(targets.map(listen)))}\n`);
