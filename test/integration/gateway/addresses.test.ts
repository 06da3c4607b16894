/** The addresses of a gateway: what it tells the other side, and from where it connects. */
import * as assert from 'uvu/assert';
import { formatAddress } from '@scistream/core';
import { dial, eventually, read, tcpServer } from '@scistream/core/testing';
import { freeRange } from '../../support/ports.js';
import { GATEWAY, LAN, TestServer, toAddress, WAN } from '../../support/server.js';
import { suite } from '../../support/suite.js';

/** Stands for the address that NAT translates to WAN. */
const PUBLIC = '198.51.100.9';
/** An address of this machine that no listener has. */
const OTHER = '127.0.0.7';

const s = suite('addresses of a gateway');

async function start(more: object): Promise<TestServer> {
  const usual = { name: GATEWAY, s2ds: 'embedded', wan: WAN, lan: LAN, proxy: 'relay', runtime: 'process' };
  return await TestServer.start({ gateways: [{ ...usual, ports: await freeRange(16), ...more }] });
}

s('the other side hears the advertised address, and the listeners bind wan', async () => {
  await using server = await start({ advertise: PUBLIC });
  const { uid, entry, req } = await server.setUp();
  assert.is(entry.host, PUBLIC);
  assert.equal((await server.leftovers()).listening, [formatAddress({ host: WAN, port: entry.port })]);
  const { listeners } = await server.peer.streams.get({ uid });
  assert.equal(listeners, req.listeners);
  const { address } = await server.peer.streams.openProbe({ uid });
  assert.is(toAddress(address).host, PUBLIC);
  // Consumers of this facility are on the same side of the NAT.
  assert.is((await server.setUp({ role: 'CONS' })).entry.host, LAN);
  const { gateways } = await server.peer.streams.describeServer({});
  assert.equal([gateways[0]?.wan, gateways[0]?.advertise], [WAN, PUBLIC]);
});

for (const [what, more, sources] of [
  ['lan towards the producer and wan towards the other gateway', {}, { PROD: LAN, CONS: WAN }],
  ['the configured source instead', { lanSource: OTHER, wanSource: OTHER }, { PROD: OTHER, CONS: OTHER }],
] as const) {
  s(`connections leave from ${what}, probes too`, async () => {
    await using server = await start(more);
    for (const role of ['PROD', 'CONS'] as const) {
      const seen: (string | undefined)[] = [];
      await using target = await tcpServer((socket) => {
        seen.push(socket.remoteAddress);
        socket.write('x');
      });
      const { uid, entry } = await server.setUp({ role, targets: [formatAddress(target.address)] });
      const client = await dial(entry);
      assert.is(await read(client, 1), 'x');
      client.destroy();
      const { results } = await server.peer.streams.connectTargets({ uid });
      assert.is(results[0]?.connected, true);
      await eventually(() => assert.equal(seen, [sources[role], sources[role]]));
    }
  });
}

s.run();
