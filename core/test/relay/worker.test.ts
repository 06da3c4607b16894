import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { read } from '@scistream/core/testing';
import { cleanUp, ending, freePort, NO_FAILURES, readAll, Relay, startRelay, Target, until } from '../support/relay.js';

const MIB = 1024 * 1024;
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
const s = suite('relay worker, TCP');
s.after.each(cleanUp);

s('forwards bytes unchanged in both directions and counts them', async () => {
  const [up, down] = [randomBytes(64 * MIB), randomBytes(65 * MIB)];
  const target = new Target((socket) => socket.end(down));
  const relay = await startRelay({ targets: [await target.listen()] });
  const client = relay.dial();
  client.end(up);
  const [received, sent] = await Promise.all([readAll(client), target.socket().then(readAll)]);
  assert.is(sha256(received), sha256(down));
  assert.is(sha256(sent), sha256(up));
  await until('closed', async () => (await relay.status()).open === 0);
  const expected = {
    connections: 1,
    open: 0,
    established: 1,
    bytesIn: up.length,
    bytesOut: down.length,
    ...NO_FAILURES,
  };
  assert.equal(await relay.status(), expected);
});

s('keeps the other direction open after a half-close by either side', async () => {
  const target = new Target();
  const relay = await startRelay({ targets: [await target.listen()] });
  for (const clientFirst of [true, false]) {
    const client = relay.dial();
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
  await until('both closed', async () => (await relay.status()).open === 0);
  assert.is((await relay.status()).errors, 0);
});

s('serves a client that half-closes first and only reads', async () => {
  const target = new Target((socket) => socket.once('end', () => socket.end('data')).resume());
  const relay = await startRelay({ targets: [await target.listen()] });
  assert.is((await readAll(relay.dial().end())).toString(), 'data');
});

s('limits its memory with a slow reader, and loses no data', async () => {
  const block = randomBytes(MIB);
  const target = new Target((socket) => socket.pause());
  const relay = await startRelay({ targets: [await target.listen()] });
  const client = relay.dial();
  await once(client, 'connect');
  const server = await target.socket();
  const before = relay.rss();
  for (let i = 0; i < 200; i += 1) client.write(block);
  client.end();
  let seen = { bytes: 0, since: Date.now() };
  await until('the relay stops reading', async () => {
    const { bytesIn } = await relay.status();
    if (bytesIn !== seen.bytes) seen = { bytes: bytesIn, since: Date.now() };
    return bytesIn > 0 && Date.now() - seen.since > 400;
  });
  assert.ok(seen.bytes < 150 * MIB, `${seen.bytes} bytes were taken from the client`);
  assert.ok(relay.rss() - before < 64 * MIB, `grew by ${relay.rss() - before} bytes`);
  const all = createHash('sha256');
  for await (const chunk of server) all.update(chunk as Buffer);
  const expected = createHash('sha256');
  for (let i = 0; i < 200; i += 1) expected.update(block);
  assert.is(all.digest('hex'), expected.digest('hex'));
});

s('forwards a reset as a reset', async () => {
  const target = new Target((socket) => socket.pause());
  const relay = await startRelay({ targets: [await target.listen()] });
  for (const byClient of [false, true]) {
    const client = relay.dial();
    client.write('x');
    const index = byClient ? 1 : 0;
    const server = await target.socket(index);
    await until('relay connected', async () => (await relay.status()).established > index);
    const [leaving, staying] = byClient ? [client, server] : [server, client];
    const end = ending(staying.resume());
    leaving.resetAndDestroy();
    assert.is(await end, 'ECONNRESET');
  }
  await until('both closed', async () => (await relay.status()).open === 0);
  const { errors, resetByConsumer, resetByProducer, unreachable } = await relay.status();
  assert.equal([errors, resetByConsumer, resetByProducer, unreachable], [2, 1, 1, 0]);
});

s('forwards a reset that arrives after unread data', async () => {
  const target = new Target();
  const relay = await startRelay({ targets: [await target.listen()] });
  // Not a Node.js client: libuv reports such a reset as the end of the stream.
  const reader = spawn('bash', ['-c', `exec 3<>/dev/tcp/127.0.0.1/${relay.listeners[0]?.port}; read -r; cat <&3`]);
  let complaint = '';
  reader.stderr.on('data', (text: Buffer) => (complaint += text.toString()));
  reader.stdout.resume();
  const server = await target.socket();
  for (let i = 0; i < 100; i += 1) server.write(Buffer.alloc(MIB));
  await until('data in flight', async () => (await relay.status()).bytesOut > MIB);
  server.resetAndDestroy();
  const exit = once(reader, 'close');
  reader.stdin.end('go\n');
  assert.is((await exit)[0], 1);
  assert.match(complaint, 'Connection reset by peer');
  assert.is((await relay.status()).errors, 1);
});

s('holds clients until a target is set, then forwards the held data', async () => {
  const target = new Target((socket) => socket.pipe(socket));
  const relay = await startRelay();
  const [open, finished] = [relay.dial(), relay.dial()];
  open.write('hello');
  finished.end('all I have');
  await until('both held', async () => (await relay.status()).bytesIn === 15);
  assert.is((await relay.status()).established, 0);
  await relay.retarget(await target.listen());
  assert.is(await read(open, 5), 'hello');
  assert.is((await readAll(finished)).toString(), 'all I have');
  open.end(' more');
  assert.is((await readAll(open)).toString(), ' more');
});

s('holds clients while the target refuses connections, with more data than fit in memory', async () => {
  const port = await freePort();
  const data = randomBytes(8 * MIB);
  const relay = await startRelay({ targets: [{ host: '127.0.0.1', port }] });
  const client = relay.dial();
  client.end(data);
  await until('held', async () => (await relay.status()).bytesIn > 0);
  const target = new Target();
  await target.listen(port);
  assert.is(sha256(await readAll(await target.socket())), sha256(data));
});

s('opens no connection to the target for a held client that has closed', async () => {
  const target = new Target((socket) => socket.pipe(socket));
  const relay = await startRelay();
  const [silent, reset, full, last] = [relay.dial(), relay.dial(), relay.dial(), relay.dial()];
  reset.write('some');
  full.write(Buffer.alloc(MIB));
  last.write(Buffer.alloc(MIB));
  await until('all held', async () => {
    const { connections, bytesIn } = await relay.status();
    return connections === 4 && bytesIn >= 2 * 64 * 1024 + 4;
  });
  silent.end();
  reset.resetAndDestroy();
  full.resetAndDestroy();
  await until('three noticed', async () => (await relay.status()).open === 1);
  assert.is((await relay.status()).errors, 2);
  const late = relay.dial();
  await until('late one held', async () => (await relay.status()).open === 2);
  // The relay learns that these two have closed only from the order of events.
  late.destroy();
  last.resetAndDestroy();
  await relay.retarget(await target.listen());
  const served = relay.dial();
  served.write('ping');
  assert.is(await read(served, 4), 'ping');
  await until('only the served one open', async () => (await relay.status()).open === 1);
  assert.is(target.accepted.length, 1);
  assert.is((await relay.status()).established, 1);
});

s('resets a client whose hold time expires', async () => {
  const relay = await startRelay({ holdMs: 200 });
  const client = relay.dial();
  client.write('anyone?');
  assert.is(await ending(client), 'ECONNRESET');
  const { connections, open, established, errors, unreachable } = await relay.status();
  assert.equal([connections, open, established, errors, unreachable], [1, 0, 0, 1, 1]);
});

s('new connections use the new target, and open ones stay on the old target', async () => {
  const named = (name: string): Target => new Target((socket) => socket.on('data', () => socket.write(name)));
  const [a, b] = [named('a'), named('b')];
  const relay = await startRelay({ targets: [await a.listen()] });
  const old = relay.dial();
  old.write('?');
  assert.is(await read(old, 1), 'a');
  await relay.retarget(await b.listen());
  const fresh = relay.dial();
  fresh.write('?');
  assert.is(await read(fresh, 1), 'b');
  old.write('?');
  assert.is(await read(old, 1), 'a');
  assert.equal([a.accepted.length, b.accepted.length], [1, 1]);
  const { open, bytesIn, bytesOut } = await relay.status();
  assert.equal([open, bytesIn, bytesOut], [2, 3, 3]);
});

s('serves 64 connections concurrently', async () => {
  const target = new Target((socket) => socket.pipe(socket));
  const relay = await startRelay({ targets: [await target.listen()] });
  const data = Array.from({ length: 64 }, () => randomBytes(MIB));
  const answers = await Promise.all(
    data.map((bytes) => {
      const client = relay.dial();
      client.end(bytes);
      return readAll(client);
    }),
  );
  assert.equal(answers.map(sha256), data.map(sha256));
  const { connections, bytesIn, bytesOut, errors } = await relay.status();
  assert.equal([connections, bytesIn, bytesOut, errors], [64, 64 * MIB, 64 * MIB, 0]);
});

s('limits the memory of idle connections', async () => {
  const target = new Target((socket) => socket.pipe(socket));
  const relay = await startRelay({ targets: [await target.listen()] });
  const before = relay.rss();
  for (let i = 0; i < 400; i += 1) relay.dial().write('x');
  await until('400 connections', async () => (await relay.status()).bytesOut === 400);
  assert.ok(relay.rss() - before < 40 * MIB, `grew by ${relay.rss() - before} bytes`);
});

s('accepts connections on an inherited socket', async () => {
  const target = new Target((socket) => socket.end('served'));
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const fd = (server as unknown as { _handle: { fd: number } })._handle.fd;
  const listeners = [{ host: '127.0.0.1', port, fd: 3 }];
  const relay = await startRelay({ listeners, targets: [await target.listen()] }, [fd]);
  server.close();
  assert.is((await readAll(relay.dial())).toString(), 'served');
});

s('serves each listener with its own target, on IPv4 and IPv6', async () => {
  const [a, b] = [new Target((socket) => socket.end('four')), new Target((socket) => socket.end('six'))];
  const listeners = [
    { host: '127.0.0.1', port: await freePort() },
    { host: '::1', port: await freePort() },
  ];
  const relay = await startRelay({ listeners, targets: [await a.listen(), await b.listen(0, '::1')] });
  assert.is((await readAll(relay.dial(0))).toString(), 'four');
  assert.is((await readAll(relay.dial(1))).toString(), 'six');
  assert.equal([(await relay.status(0)).bytesOut, (await relay.status(1)).bytesOut], [4, 3]);
});

s('recovers from a lack of file descriptors', async () => {
  const target = new Target((socket) => socket.pipe(socket));
  const relay = await startRelay({ targets: [await target.listen()] }, [], 48);
  const held = await startedControl(relay);
  const clients = Array.from({ length: 60 }, () => relay.dial());
  await Promise.all(clients.map((client) => Promise.race([once(client, 'connect'), once(client, 'close')])));
  await until('load was shed', () =>
    clients.some((client) => client.readableEnded || client.destroyed || client.resume().closed),
  );
  const before = relay.cpu();
  const start = Date.now();
  await until('a second has passed', () => Date.now() - start > 1000);
  assert.ok(relay.cpu() - before < 50, `used ${relay.cpu() - before} ticks of 100 while idle`);
  for (const client of clients) client.destroy();
  const after = await until('served again', async () => {
    const client = relay.dial();
    client.end('still there');
    const answer = await readAll(client).catch(() => undefined);
    return answer?.toString() === 'still there';
  });
  assert.ok(after);
  held.destroy();
});

s('answers invalid control requests, and closes the connection after a line over 1 MiB', async () => {
  const relay = await startRelay();
  const bad = [
    'nonsense',
    '[]',
    '{"cmd":"stop"}',
    '{"cmd":"targets","targets":[{"host":"example.org","port":80}]}',
    '{"cmd":"targets","targets":[{"host":"127.0.0.1","port":70000}]}',
    '{"cmd":"targets","targets":[{"host":"0.0.0.0","port":80}]}',
    '{"cmd":"targets","targets":[{"host":"127.0.0.1","port":1},{"host":"127.0.0.1","port":2}]}',
  ];
  const replies = await relay.say(...bad, '{"cmd":"status"}');
  assert.equal(
    replies.map(({ ok }) => ok),
    [...bad.map(() => false), true],
  );
  assert.match(String(replies[4]?.['error']), 'targets[0].port is 70000');
  assert.is(replies.at(-1)?.['pid'], relay.pid);

  const held = await startedControl(relay);
  const flood = connect(relay.control).on('error', () => undefined);
  flood.write('x'.repeat(MIB + 1));
  await once(flood, 'close');
  held.write('{"cmd":"status"}\n');
  assert.match(await until('answer on the other', () => (held.read() as Buffer | null)?.toString()), '"ok":true');
  held.destroy();
});

s('stops on SIGTERM and removes its control socket', async () => {
  const relay = await startRelay();
  assert.is(statSync(relay.control).mode & 0o777, 0o600);
  await once(relay.dial(), 'connect');
  relay.kill('SIGTERM');
  assert.equal(await relay.exit(), { code: 0, signal: null });
  assert.not(existsSync(relay.control));
});

s('reports a failed start and exits with 1', async () => {
  const taken = await new Target().listen();
  const relay = new Relay({ listeners: [taken] });
  assert.is((await relay.exit()).code, 1);
  assert.match(
    await until('stderr', () => relay.stderr !== '' && relay.stderr),
    `EADDRINUSE: address already in use 127.0.0.1:${taken.port}`,
  );
  const wrong = new Relay({ listeners: [{ host: 'localhost', port: 5100 }] });
  assert.is((await wrong.exit()).code, 1);
  assert.match(await until('stderr', () => wrong.stderr !== '' && wrong.stderr), 'listeners[0].host is "localhost"');
});

async function startedControl(relay: Relay): Promise<ReturnType<typeof connect>> {
  const socket = connect(relay.control);
  await once(socket, 'connect');
  return socket;
}

s.run();
