import { connect } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { systemCode } from '@scistream/core';
import { formatNetwork, parseNetwork, parseSources } from '@scistream/core/internal';
import { cleanUp, freePort, Relay, startRelay, Target, until } from '../support/relay.js';

const s = suite('sources');
s.after.each(cleanUp);

for (const [written, meant] of [
  ['10.1.2.3', '10.1.2.3/32'],
  ['10.0.0.0/8', '10.0.0.0/8'],
  ['0.0.0.0/0', '0.0.0.0/0'],
  ['255.255.255.255', '255.255.255.255/32'],
  ['::ffff:10.0.0.0/104', '10.0.0.0/8'],
  ['2001:DB8::/32', '2001:db8:0:0:0:0:0:0/32'],
  ['::/0', '0:0:0:0:0:0:0:0/0'],
  ['::1', '0:0:0:0:0:0:0:1/128'],
] as const) {
  s(`${written} is the network ${meant}, also after another parse`, () => {
    assert.equal(parseSources([written]), [meant]);
    assert.is(formatNetwork(parseNetwork(meant)), meant);
  });
}

/** Returns true if a relay that listens on `host` forwards a connection from `localAddress`. */
async function accepts(host: string, localAddress: string, sources: string[]): Promise<boolean> {
  const address = await new Target((socket) => socket.end('hello')).listen();
  const listener = { host, port: await freePort() };
  const relay = await startRelay({ listeners: [listener], targets: [address], sources });
  const socket = connect({ host: host === '::' ? localAddress : host, port: listener.port, localAddress });
  let heard = '';
  let why: unknown;
  socket.on('data', (data) => (heard += data.toString()));
  socket.on('error', (error) => (why = systemCode(error)));
  await new Promise((resolve) => socket.once('close', resolve));
  const { refused, connections } = await relay.status();
  assert.equal([refused, connections], heard === '' ? [1, 0] : [0, 1], `the connection ended with ${String(why)}`);
  return heard === 'hello';
}

for (const [host, from, sources, expected] of [
  ['127.0.0.1', '127.0.0.1', ['127.0.0.1/32'], true],
  ['127.0.0.1', '127.0.0.2', ['127.0.0.1/32'], false],
  ['127.0.0.1', '127.0.0.2', ['10.0.0.0/8', '127.0.0.0/30'], true],
  ['127.0.0.1', '127.0.0.4', ['10.0.0.0/8', '127.0.0.0/30'], false],
  ['127.0.0.1', '127.0.0.1', ['0:0:0:0:0:0:0:0/0'], false],
  ['::1', '::1', ['0:0:0:0:0:0:0:1/128'], true],
  ['::1', '::1', ['0.0.0.0/0'], false],
  ['::', '127.0.0.1', ['127.0.0.1/32'], true],
  ['::', '127.0.0.1', ['0:0:0:0:0:0:0:0/0'], false],
] as const) {
  s(
    `the relay on ${host} ${expected ? 'accepts' : 'resets'} ${from} with sources ${sources.join(' and ')}`,
    async () => {
      assert.is(await accepts(host, from, [...sources]), expected);
    },
  );
}

for (const [sources, said] of [
  [[], /sources is \[\]; expected at least one network/],
  [['10.0.0.0'], /"10\.0\.0\.0" is not a network/],
  [['10.0.0.0/33'], /"10\.0\.0\.0\/33" is not a network/],
  [['all/0'], /"all\/0" is not a network/],
] as const) {
  s(`a worker rejects the sources ${JSON.stringify(sources)}`, async () => {
    const listeners = [{ host: '127.0.0.1', port: await freePort() }];
    const relay = new Relay({ listeners, sources: [...sources] });
    assert.is((await relay.exit()).code, 1);
    await until('the reason', () => said.test(relay.stderr));
  });
}

s.run();
