import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { cleanUp, freePort, startRelay, udpPeer, until, NO_FAILURES } from '../support/relay.js';

const s = suite('relay worker, UDP');
s.after.each(cleanUp);

s('drops datagrams without a target, then forwards both ways with one session per client', async () => {
  const target = await udpPeer((data) => `${data}!`);
  const relay = await startRelay({ transport: 'udp' });
  const port = relay.listeners[0]?.port ?? 0;
  const [a, b] = [await udpPeer(), await udpPeer()];
  a.socket.send('lost', port, '127.0.0.1');
  await until('dropped', async () => (await relay.status()).errors === 1);
  await relay.retarget(target.address);
  for (const text of ['one', 'two', '']) a.socket.send(text, port, '127.0.0.1');
  b.socket.send('three', port, '127.0.0.1');
  await until('answers', () => a.got.length === 3 && b.got.length === 1);
  assert.equal([a.got, b.got], [['one!', 'two!', '!'], ['three!']]);
  assert.equal(await relay.status(), {
    connections: 2,
    open: 2,
    established: 2,
    bytesIn: 15,
    bytesOut: 15,
    ...NO_FAILURES,
    errors: 1,
  });
});

s('moves a session to the new target with its next datagram', async () => {
  const [old, fresh] = [await udpPeer(() => 'old'), await udpPeer(() => 'new')];
  const relay = await startRelay({ transport: 'udp', targets: [old.address] });
  const port = relay.listeners[0]?.port ?? 0;
  const client = await udpPeer();
  client.socket.send('1', port, '127.0.0.1');
  await until('first answer', () => client.got.length === 1);
  await relay.retarget(fresh.address);
  client.socket.send('2', port, '127.0.0.1');
  await until('second answer', () => client.got.length === 2);
  assert.equal([client.got, old.got, fresh.got], [['old', 'new'], ['1'], ['2']]);
  assert.is((await relay.status()).open, 1);
});

s('closes an idle session', async () => {
  const target = await udpPeer((data) => data);
  const relay = await startRelay({ transport: 'udp', targets: [target.address], udpSessionMs: 200 });
  const client = await udpPeer();
  client.socket.send('x', relay.listeners[0]?.port ?? 0, '127.0.0.1');
  await until('answer', () => client.got.length === 1);
  await until('session closed', async () => (await relay.status()).open === 0);
  client.socket.send('y', relay.listeners[0]?.port ?? 0, '127.0.0.1');
  await until('answer in a new session', () => client.got.length === 2);
  assert.is((await relay.status()).connections, 2);
});

s('recovers from a lack of file descriptors', async () => {
  const target = await udpPeer((data) => data);
  const relay = await startRelay({ transport: 'udp', targets: [target.address], udpSessionMs: 300 }, [], 40);
  const clients = await Promise.all(Array.from({ length: 60 }, () => udpPeer()));
  for (const { socket } of clients) socket.send('x', relay.listeners[0]?.port ?? 0, '127.0.0.1');
  const { errors } = await until('all sessions closed', async () => {
    const status = await relay.status().catch(() => undefined);
    return status?.bytesIn === 60 && status.open === 0 && status;
  });
  assert.ok(errors > 0);
  const client = await udpPeer();
  client.socket.send('y', relay.listeners[0]?.port ?? 0, '127.0.0.1');
  await until('answer', () => client.got.length === 1);
});

s('counts ICMP errors and continues', async () => {
  const relay = await startRelay({ transport: 'udp', targets: [{ host: '127.0.0.1', port: await freePort() }] });
  const client = await udpPeer();
  const send = (): void => client.socket.send('x', relay.listeners[0]?.port ?? 0, '127.0.0.1');
  send();
  await until('refused', async () => (await relay.status()).errors > 0);
  await relay.retarget((await udpPeer((data) => data)).address);
  send();
  await until('answer', () => client.got.length === 1);
});

s.run();
