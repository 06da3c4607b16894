/** Failures by cause in the status of a stream: only a target that was not reached blames the producer. */
import * as assert from 'uvu/assert';
import { formatAddress } from '@scistream/core';
import { S2UC } from '@scistream/core/client';
import {
  dial,
  eventually,
  exchange,
  named,
  read,
  receiveAll,
  tcpServer,
  temporaryDirectory,
} from '@scistream/core/testing';
import { TestServer, toAddress } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('causes');

const PROXIES = { relay: { hold: '300ms' } };

const facility = ({ listening }: TestServer) => ({
  s2cs: toAddress(listening.address),
  fingerprint: listening.fingerprint ?? '',
});

s('strangers, resets, a retarget and a check never blame the producer; an unreachable one is named', async () => {
  await using home = await temporaryDirectory();
  await using from = await TestServer.start({ proxies: PROXIES });
  await using to = await TestServer.start({ proxies: PROXIES });
  await using client = new S2UC({ facilities: { from: facility(from), to: facility(to) } }, { stateDir: home.path });
  await using producer = await tcpServer(named('p'));
  const stream = await client.up({ from: 'from', to: 'to', producer: [producer.address] });
  const initial = await stream.status();
  const entry = toAddress(initial.connect[0] ?? '');
  const inbound = toAddress(initial.from?.listeners[0] ?? '');

  for (let hit = 0; hit < 3; hit += 1) {
    const scanner = await dial(inbound);
    scanner.end('x\n');
    await receiveAll(scanner).catch(() => undefined);
  }
  const impatient = await dial(entry);
  assert.is(await read(impatient, 1), 'p');
  impatient.resetAndDestroy();
  assert.is(await exchange(entry, 'ordinary'), 'pordinary');
  await stream.verify();
  await eventually(async () => {
    const { from: inboundSide, to: outboundSide, diagnosis } = await stream.status();
    assert.is(inboundSide?.failures.handshakeFailed, 3);
    assert.is(outboundSide?.failures.resetByConsumer, 1);
    assert.equal([inboundSide?.failures.unreachable, outboundSide?.failures.unreachable], [0, 0]);
    assert.not.match(diagnosis, formatAddress(producer.address));
    assert.not.match(diagnosis, 'reach');
  });

  const { address } = producer;
  await producer[Symbol.asyncDispose]();
  await receiveAll(await dial(entry)).catch(() => undefined);
  await eventually(async () => {
    const { from: inboundSide, to: outboundSide, diagnosis } = await stream.status();
    assert.is(inboundSide?.failures.unreachableNow, 1);
    assert.is(outboundSide?.failures.unreachable, 0);
    assert.match(diagnosis, formatAddress(address));
  });

  // A claim ends when the condition has gone.
  await using second = await tcpServer(named('q'));
  await stream.update({ producer: [second.address] });
  const { from: updated, diagnosis } = await stream.status();
  assert.equal([updated?.failures.unreachable, updated?.failures.unreachableNow], [1, 0]);
  assert.not.match(diagnosis, 'reach');
});

s('a limit that is reached is named with its key, on the side that reached it', async () => {
  await using home = await temporaryDirectory();
  await using from = await TestServer.start({ proxies: PROXIES });
  await using to = await TestServer.start({ proxies: { relay: { maxConnections: 2 } } });
  const facilities = { from: facility(from), to: facility(to) };
  await using client = new S2UC({ facilities }, { stateDir: home.path });
  await using producer = await tcpServer(named('p'));
  const stream = await client.up({ from: 'from', to: 'to', producer: [producer.address] });
  const entry = toAddress((await stream.status()).connect[0] ?? '');
  const served = [await dial(entry), await dial(entry)];
  for (const socket of served) assert.is(await read(socket, 1), 'p');
  // The reset may arrive before the client has seen that it is connected.
  await dial(entry)
    .then(receiveAll)
    .catch(() => undefined);
  const { to: outbound, diagnosis } = await stream.status();
  assert.equal(outbound?.limit, { connections: 2, reached: true });
  assert.is(outbound?.failures.limitReached, 1);
  assert.match(diagnosis, 'proxies.relay.maxConnections');
  for (const socket of served) socket.resetAndDestroy();
  await eventually(async () => assert.is((await stream.status()).to?.limit?.reached, false));
});

s.run();
