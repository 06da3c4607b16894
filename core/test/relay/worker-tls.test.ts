/** The relay worker with TLS between two gateways: pairs of workers, and other TLS peers on each side. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer } from 'node:tls';
import type { ConnectionOptions, TLSSocket, TlsOptions } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { read } from '@scistream/core/testing';
import { Authority, type Credentials } from '../support/credentials.js';
import { cleanUp, ending, freePort, readAll, startRelay, Target, until, NO_FAILURES } from '../support/relay.js';
import type { Address, Relay, RelayOptions } from '../support/relay.js';

const MIB = 1024 * 1024;
const PROD = 'prod.stream';
const CONS = 'cons.stream';
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

const authority = await Authority.make();
const foreign = await Authority.make();
const [prod, cons] = await Promise.all([authority.issue(PROD), authority.issue(CONS)]);

const closers: (() => void)[] = [];
const s = suite('relay worker, TLS');
s.after.each(() => {
  for (const close of closers.splice(0)) close();
  cleanUp();
});

/** The worker of the inbound side, a TLS server. */
const inbound = (targets: Address[], more: RelayOptions = {}): Promise<Relay> =>
  startRelay({ targets, tls: { leg: 'listeners', peer: CONS }, files: { ...prod }, ...more });

/** The worker of the outbound side, a TLS client. */
const outbound = (targets: Address[], more: RelayOptions = {}): Promise<Relay> =>
  startRelay({ targets, tls: { leg: 'targets', peer: PROD }, files: { ...cons }, ...more });

const addressOf = (relay: Relay): Address => relay.listeners[0] ?? { host: '', port: 0 };

/** Both workers of a stream, as seen from the consumer. */
async function pair(targets: Address[]): Promise<{ near: Relay; far: Relay }> {
  const far = await inbound(targets);
  return { near: await outbound([addressOf(far)]), far };
}

const options = (own: Partial<Credentials>): ConnectionOptions & TlsOptions => ({
  cert: own['tls.crt'],
  key: own['tls.key'],
  ca: own['ca.crt'],
});

/** A TLS client of Node.js. */
function tlsClient(relay: Relay, own: Partial<Credentials>, more: ConnectionOptions = {}): TLSSocket {
  const socket = connect({ ...addressOf(relay), servername: PROD, ...options(own), ...more });
  socket.on('error', () => undefined);
  closers.push(() => socket.destroy());
  return socket;
}

/** A TLS server of Node.js. */
async function tlsServer(
  own: Credentials,
  serve: (socket: TLSSocket, wire: Socket) => void,
  more: TlsOptions = {},
): Promise<Address> {
  const wires: Socket[] = [];
  const server = createServer(
    { ...options(own), requestCert: true, rejectUnauthorized: true, allowHalfOpen: true, ...more },
    (socket) => {
      socket.on('error', () => undefined);
      const wire = wires.find(({ remotePort }) => remotePort === socket.remotePort);
      if (wire) serve(socket, wire);
    },
  );
  server.prependListener('connection', (wire: Socket) => wires.push(wire));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.close();
    for (const wire of wires) wire.destroy();
  });
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

s('a pair forwards bytes unchanged in both directions and counts the payload', async () => {
  const [up, down] = [randomBytes(24 * MIB), randomBytes(25 * MIB)];
  const target = new Target((socket) => socket.end(down));
  const { near, far } = await pair([await target.listen()]);
  const client = near.dial();
  client.end(up);
  const [received, sent] = await Promise.all([readAll(client), target.socket().then(readAll)]);
  assert.is(sha256(received), sha256(down));
  assert.is(sha256(sent), sha256(up));
  const expected = {
    connections: 1,
    open: 0,
    established: 1,
    bytesIn: up.length,
    bytesOut: down.length,
    ...NO_FAILURES,
  };
  for (const relay of [near, far]) {
    await until('closed', async () => (await relay.status()).open === 0);
    assert.equal(await relay.status(), expected);
  }
});

s('keeps the other direction open after a half-close by either side', async () => {
  const target = new Target();
  const { near, far } = await pair([await target.listen()]);
  for (const clientFirst of [true, false]) {
    const client = near.dial();
    await once(client, 'connect');
    const server = await target.socket(clientFirst ? 0 : 1);
    const [first, second] = clientFirst ? [client, server] : [server, client];
    first.end('early');
    assert.is((await readAll(second)).toString(), 'early');
    second.write('late ');
    assert.is(await read(first, 5), 'late ');
    second.end('last');
    assert.is((await readAll(first)).toString(), 'last');
  }
  for (const relay of [near, far]) {
    await until('both closed', async () => (await relay.status()).open === 0);
    assert.is((await relay.status()).errors, 0);
  }
});

s('a pair forwards a reset as a reset', async () => {
  const target = new Target((socket) => socket.pause());
  const { near, far } = await pair([await target.listen()]);
  for (const byClient of [false, true]) {
    const client = near.dial();
    client.write('x');
    const server = await target.socket(byClient ? 1 : 0);
    await until('arrived', () => server.readableLength === 1);
    const [leaving, staying] = byClient ? [client, server] : [server, client];
    const end = ending(staying.resume());
    leaving.resetAndDestroy();
    assert.is(await end, 'ECONNRESET');
  }
  for (const relay of [near, far]) {
    await until('both closed', async () => (await relay.status()).open === 0);
    assert.is((await relay.status()).errors, 2);
  }
});

s('limits its memory with a slow reader, and loses no data', async () => {
  const block = randomBytes(MIB);
  const target = new Target((socket) => socket.pause());
  const { near, far } = await pair([await target.listen()]);
  const client = near.dial();
  await once(client, 'connect');
  const server = await target.socket();
  const before = [near.rss(), far.rss()];
  for (let i = 0; i < 150; i += 1) client.write(block);
  client.end();
  let seen = { bytes: 0, since: Date.now() };
  await until('the relays stop reading', async () => {
    const { bytesIn } = await near.status();
    if (bytesIn !== seen.bytes) seen = { bytes: bytesIn, since: Date.now() };
    return bytesIn > 0 && Date.now() - seen.since > 400;
  });
  assert.ok(seen.bytes < 120 * MIB, `${seen.bytes} bytes were taken from the client`);
  [near, far].forEach((relay, i) => {
    const growth = relay.rss() - (before[i] ?? 0);
    assert.ok(growth < 64 * MIB, `grew by ${growth} bytes`);
  });
  const all = createHash('sha256');
  for await (const chunk of server) all.update(chunk as Buffer);
  const expected = createHash('sha256');
  for (let i = 0; i < 150; i += 1) expected.update(block);
  assert.is(all.digest('hex'), expected.digest('hex'));
});

s('rejects all peers without a client certificate of the stream', async () => {
  const target = new Target();
  const relay = await inbound([await target.listen()]);
  const refused: [Partial<Credentials>, ConnectionOptions][] = [
    [{ 'ca.crt': prod['ca.crt'] }, {}],
    [{ ...(await foreign.issue(CONS)), 'ca.crt': prod['ca.crt'] }, {}],
    [await authority.issue(CONS, { usage: 'serverAuth' }), {}],
    [await authority.issue(CONS, { expired: true }), {}],
    [cons, { maxVersion: 'TLSv1.2' }],
  ];
  for (const [own, more] of refused) {
    const client = tlsClient(relay, own, more);
    const closed = new Promise((done) => client.once('close', done));
    client.write('let me in');
    await closed;
  }
  const text = relay.dial();
  text.write('GET / HTTP/1.1\r\n\r\n');
  await ending(text.resume());
  await until('all closed', async () => (await relay.status()).errors === 6);
  const { connections, open, established, bytesIn } = await relay.status();
  assert.equal([connections, open, established, bytesIn], [0, 0, 0, 0]);
  // The reasons are in the log, each once.
  assert.match(relay.stderr, /TLS from the other gateway failed: \S/);
  const lines = relay.stderr.trim().split('\n');
  assert.is(new Set(lines).size, lines.length);
  assert.is(target.accepted.length, 0);
});

s('counts no error for a peer that closes silently, and ends a slow handshake', async () => {
  const target = new Target();
  const relay = await inbound([await target.listen()], { tls: { leg: 'listeners', peer: CONS, handshakeMs: 400 } });
  const leaver = relay.dial();
  await once(leaver, 'connect');
  leaver.end();
  await ending(leaver.resume());
  assert.is((await relay.status()).errors, 0);
  const slow = relay.dial();
  // The start of a ClientHello, byte by byte.
  const trickle = setInterval(() => slow.write(Buffer.of(0x16)), 50);
  closers.push(() => clearInterval(trickle));
  slow.write(Buffer.of(0x16, 0x03, 0x01, 0x0f, 0xff, 0x01));
  await ending(slow.resume());
  await until('the error is counted', async () => (await relay.status()).errors === 1);
  assert.is((await relay.status()).handshakeFailed, 1);
  assert.is(target.accepted.length, 0);
});

s('sends no data to a target without the certificate of the other gateway', async () => {
  const impostors = [await foreign.issue(PROD), await authority.issue('other.stream')];
  for (const own of impostors) {
    let heard = '';
    const server = await tlsServer(own, (socket) => socket.on('data', (data: Buffer) => (heard += data.toString())), {
      rejectUnauthorized: false,
    });
    const relay = await outbound([server], { holdMs: 300 });
    const client = relay.dial();
    client.write('secret');
    assert.is(await ending(client), 'ECONNRESET');
    const { established, bytesIn, errors } = await relay.status();
    assert.equal([established, bytesIn, errors, heard], [0, 6, 1, '']);
    assert.match(relay.stderr, /TLS to the other gateway failed: \S/);
  }
});

s('presents its own certificate, and uses TLS 1.3 with AES-128 and without resumption', async () => {
  const target = new Target((socket) => socket.pipe(socket));
  const relay = await inbound([await target.listen()]);
  const first = tlsClient(relay, cons);
  let session: Buffer | undefined;
  first.on('session', (offered) => (session = offered));
  first.write('ping');
  assert.is(await read(first, 4), 'ping');
  assert.equal([first.getProtocol(), first.getCipher().name], ['TLSv1.3', 'TLS_AES_128_GCM_SHA256']);
  const second = tlsClient(relay, cons, session === undefined ? {} : { session });
  second.write('pong');
  assert.is(await read(second, 4), 'pong');
  assert.not(second.isSessionReused());
  const peers: (string | undefined)[] = [];
  const server = await tlsServer(prod, (socket) => {
    peers.push(socket.getPeerX509Certificate()?.subject);
    socket.pipe(socket);
  });
  const near = await outbound([server]);
  const client = near.dial();
  client.end('through');
  assert.is((await readAll(client)).toString(), 'through');
  assert.equal(peers, [`CN=${CONS}`]);
});

s('treats a FIN as the end, and a reset after data as an error', async () => {
  const server = await tlsServer(prod, (socket, wire) => {
    socket.write('data', () => wire.end());
    socket.resume();
  });
  const relay = await outbound([server]);
  const client = relay.dial();
  assert.is((await readAll(client)).toString(), 'data');
  client.end();
  await until('closed', async () => (await relay.status()).open === 0);
  assert.is((await relay.status()).errors, 0);

  const block = randomBytes(MIB);
  const breaking = await tlsServer(prod, (socket, wire) => {
    for (let i = 0; i < 64; i += 1) socket.write(block);
    socket.once('data', () => wire.resetAndDestroy());
  });
  await relay.retarget(breaking);
  const reader = relay.dial().pause();
  await until('in flight', async () => (await relay.status()).bytesOut > MIB);
  reader.write('stop');
  // The result is not checked: libuv may report the reset as an end in this process too.
  await ending(reader.resume());
  await until('counted', async () => (await relay.status()).errors === 1);
});

s('holds a client after its handshake until a target is set, then forwards the held data', async () => {
  const target = new Target((socket) => socket.pipe(socket));
  const relay = await inbound([]);
  const [open, gone] = [tlsClient(relay, cons), tlsClient(relay, cons)];
  open.write('hello');
  await Promise.all([once(open, 'secureConnect'), once(gone, 'secureConnect')]);
  await until('held', async () => (await relay.status()).bytesIn === 5);
  gone.end();
  await until('one left', async () => (await relay.status()).open === 1);
  await relay.retarget(await target.listen());
  assert.is(await read(open, 5), 'hello');
  assert.equal([target.accepted.length, (await relay.status()).errors], [1, 0]);
});

s('retries a target whose handshake fails', async () => {
  const port = await freePort();
  const near = await outbound([{ host: '127.0.0.1', port }]);
  const client = near.dial();
  client.end('patience');
  await until('held', async () => (await near.status()).bytesIn === 8);
  const deaf = new Target((socket) => socket.destroy());
  await deaf.listen(port);
  await until('tried', () => deaf.accepted.length > 1);
  deaf.close();
  const target = new Target();
  const far = await inbound([await target.listen()], { listeners: [{ host: '127.0.0.1', port }] });
  assert.is((await readAll(await target.socket())).toString(), 'patience');
  (await target.socket()).end('done');
  assert.is((await readAll(client)).toString(), 'done');
  await until('closed', async () => (await far.status()).open === 0);
  assert.equal([(await near.status()).errors, (await far.status()).errors], [0, 0]);
});

s('carries a client that leaves while the handshake takes longer than a retry interval', async () => {
  const target = new Target();
  const far = await inbound([await target.listen()]);
  const near = await outbound([addressOf(far)], { retryMs: 1, connectTimeoutMs: 20_000 });
  const clients = Array.from({ length: 20 }, () => near.dial());
  for (const client of clients) client.once('connect', () => client.end());
  await until('all arrived', () => target.accepted.length === clients.length);
  assert.equal([(await near.status()).errors, (await far.status()).errors], [0, 0]);
});

s('serves 32 encrypted connections concurrently', async () => {
  const target = new Target((socket) => socket.pipe(socket));
  const { near } = await pair([await target.listen()]);
  const data = Array.from({ length: 32 }, () => randomBytes(MIB));
  const answers = await Promise.all(
    data.map((bytes) => {
      const client = near.dial();
      client.end(bytes);
      return readAll(client);
    }),
  );
  assert.equal(answers.map(sha256), data.map(sha256));
  assert.is((await near.status()).errors, 0);
});

s.run();
