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

s('strangers, resets, a retarget and a check never blame the producer; an unreachable one is named', async () => {
  await using home = await temporaryDirectory();
  await using from = await TestServer.start({ proxies: PROXIES });
  await using to = await TestServer.start({ proxies: PROXIES });
  const facility = ({ listening }: TestServer) => ({
    s2cs: toAddress(listening.address),
    fingerprint: listening.fingerprint ?? '',
  });
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

s.run();
