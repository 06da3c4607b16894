/** Relays that forward to each other, as two facilities can arrange it: the limits end the loop. */
import { createSocket } from 'node:dgram';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { cleanUp, freePort, startRelay, udpPeer, until, type Relay, type RelayOptions } from '../support/relay.js';

const s = suite('relays in a loop');
s.after.each(cleanUp);

/** Two relays, each the target of the other. */
async function loop(options: RelayOptions): Promise<readonly [Relay, Relay]> {
  const [a, b] = [
    { host: '127.0.0.1', port: await freePort() },
    { host: '127.0.0.1', port: await freePort() },
  ];
  return [
    await startRelay({ ...options, listeners: [a], targets: [b] }),
    await startRelay({ ...options, listeners: [b], targets: [a] }),
  ];
}

s('one byte takes no more connections than the limit, and all end', async () => {
  const relays = await loop({ maxConnections: 50 });
  const client = relays[0].dial();
  client.write('x');
  await until(
    'limit reached',
    async () => (await relays[0].status()).limitReached + (await relays[1].status()).limitReached,
  );
  client.destroy();
  for (const relay of relays) {
    await until('no connection left', async () => (await relay.status()).open === 0);
    assert.ok((await relay.status()).connections <= 60);
  }
});

s('one datagram does not circulate forever', async () => {
  const relays = await loop({ transport: 'udp' });
  const client = createSocket('udp4');
  client.send('x', relays[0].listeners[0]?.port ?? 0, '127.0.0.1');
  const counts = (): Promise<number[]> =>
    Promise.all(relays.map(async (relay) => (await relay.status()).bytesIn + (await relay.status()).limitReached));
  await until('dropped', async () => {
    const statuses = await Promise.all(relays.map((relay) => relay.status()));
    return statuses.some(({ limitReached }) => limitReached > 0);
  });
  let before: number[] = [];
  await until('no datagram left', async () => {
    const now = await counts();
    const quiet = now.join() === before.join();
    before = now;
    return quiet;
  });
  for (const relay of relays) assert.ok((await relay.status()).open <= 1024);
  client.close();
});

s('many clients of one address get their sessions, but not without a limit', async () => {
  const target = await udpPeer((data) => data);
  const relay = await startRelay({ transport: 'udp', targets: [target.address] });
  const port = relay.listeners[0]?.port ?? 0;
  const clients = Array.from({ length: 600 }, () => createSocket('udp4'));
  for (const client of clients) await new Promise<void>((done) => client.send('x', port, '127.0.0.1', () => done()));
  await until('all arrived', async () => {
    const { connections, limitReached } = await relay.status();
    return connections + limitReached === 600;
  });
  const { connections, limitReached } = await relay.status();
  assert.ok(connections >= 512 && limitReached > 0, `${connections} sessions, ${limitReached} rejected`);
  for (const client of clients) client.close();
});

s.run();
