/** Probes of the encrypted listeners of the other gateway: what proves the path, and the reason that a failure names. */
import { once } from 'node:events';
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Address, ProbeAnswer, StreamTls } from '@scistream/core';
import { probeListeners, RangePortAllocator, StreamProbes } from '@scistream/core/internal';
import { freeRange, testCredentials } from '@scistream/core/testing';

const s = suite('probes of encrypted listeners');
const credentials = await testCredentials();
const open: { readonly server: Server; readonly sockets: Set<Socket> }[] = [];

async function listening(server: Server): Promise<Address> {
  const sockets = new Set<Socket>();
  open.push({ server, sockets });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

/** A gateway whose TLS server calls `answer` after each handshake with a client that it accepts. */
function gateway(answer: (socket: TLSSocket) => void, tls: StreamTls = credentials.inbound): Promise<Address> {
  const { certificate: cert, key, ca } = tls;
  const server = createServer({ cert, key, ca, requestCert: true, minVersion: 'TLSv1.3' }, (socket) => {
    socket.on('error', () => undefined);
    answer(socket);
  });
  return listening(server.on('tlsClientError', () => undefined));
}

async function verdict(target: Address, answer: ProbeAnswer = 'data', tls = credentials.outbound): Promise<string> {
  const [result] = await probeListeners([target], tls, answer, undefined);
  return result?.error ?? 'ok';
}

s.after(() => {
  for (const { server, sockets } of open) {
    server.close();
    for (const socket of sockets) socket.destroy();
  }
});

s('a byte of the proxy proves the path, and nothing is sent to it', async () => {
  const heard: Buffer[] = [];
  const names: (string | false | null)[] = [];
  const target = await gateway((socket) => {
    names.push(socket.servername);
    socket.on('data', (chunk: Buffer) => heard.push(chunk)).write('x');
  });
  assert.is(await verdict(target), 'ok');
  assert.equal([names, heard], [['probe.scistream.invalid'], []]);
});

s('the end of a connection proves the path only for a proxy that answers in this way', async () => {
  const target = await gateway((socket) => socket.end());
  assert.is(await verdict(target, 'close'), 'ok');
  assert.is.not(await verdict(target, 'data'), 'ok');
});

s('a handshake alone proves nothing', async () => {
  const target = await gateway(() => undefined);
  assert.match(await verdict(target), 'after the handshake');
});

s('a client whose certificate the other gateway rejects is not accepted', async () => {
  const target = await gateway((socket) => socket.end('x'));
  const foreign = (await testCredentials()).outbound;
  for (const tls of [foreign, credentials.early.outbound]) {
    for (const answer of ['data', 'close'] as const) {
      assert.is.not(await verdict(target, answer, { ...tls, ca: credentials.outbound.ca }), 'ok');
    }
  }
});

s('a certificate from the future names the clocks', async () => {
  const target = await gateway((socket) => socket.end('x'), credentials.early.inbound);
  assert.match(await verdict(target), 'clock');
});

s('another name and another authority are rejected', async () => {
  assert.is.not(await verdict(await gateway((socket) => socket.end('x'), credentials.other)), 'ok');
  const foreign = (await testCredentials()).inbound;
  assert.is.not(await verdict(await gateway((socket) => socket.end('x'), foreign)), 'ok');
});

s('a path that loses the handshake names the packet size', async () => {
  assert.match(await verdict(await listening(createTcpServer())), 'path MTU');
});

s('a probe port beside the listeners answers the other gateway only', async () => {
  const host = '127.0.0.1';
  const ports = new RangePortAllocator(await freeRange(4));
  const probes = new StreamProbes(ports, 'a-stream', { bound: host, told: host });
  const foreign = (await testCredentials()).outbound;
  for (const tls of [foreign, credentials.early.outbound]) {
    const { address } = await probes.open(credentials.inbound);
    assert.is.not(await verdict(address, 'data', { ...tls, ca: credentials.outbound.ca }), 'ok');
  }
  const { address, challenge, tls } = await probes.open(credentials.inbound);
  assert.equal([challenge, tls], ['', true]);
  assert.is(await verdict(address), 'ok');
  await probes.close();
  assert.equal(ports.inUse(), []);
});

s('targets that repeat are probed once', async () => {
  let accepted = 0;
  const target = await gateway((socket) => {
    accepted += 1;
    socket.end('x');
  });
  const results = await probeListeners([target, target], credentials.outbound, 'data', undefined);
  assert.equal([results.length, accepted], [1, 1]);
});

s('tests every target, and the further addresses of one that fails', async () => {
  const targets = await Promise.all(Array.from({ length: 20 }, () => gateway((socket) => socket.end('x'))));
  const [one = { host: '', port: 0 }, ...others] = targets;
  const moved = { host: '127.0.0.8', port: one.port, fallbacks: ['127.0.0.9', one.host] };
  const results = await probeListeners([moved, ...others], credentials.outbound, 'data', undefined);
  assert.equal(
    results.map(({ address, error }) => [address, error]),
    targets.map((target) => [target, undefined]),
  );
});

s.run();
