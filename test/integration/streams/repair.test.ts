/** Repairs after a restart, and how they are reported. */
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { formatAddress } from '@scistream/core';
import { GatewayStore, LevelStreamStore } from '@scistream/core/internal';
import { eventually, exchange, named, tcpServer, temporaryDirectory } from '@scistream/core/testing';
import { NOTHING } from '../../support/leftovers.js';
import { freeRange } from '../../support/ports.js';
import { TestServer } from '../../support/server.js';
import { suite } from '../../support/suite.js';

const s = suite('repair after a restart');

/** Servers on one state directory, one after another. */
async function site() {
  const directory = await temporaryDirectory();
  const range = await freeRange(8);
  const start = (): Promise<TestServer> => TestServer.start({ state: directory.path, range });
  const stop = async (server: TestServer): Promise<void> => {
    await server.server.stop();
    server.peer.cut();
  };
  return { state: directory.path, start, stop, [Symbol.asyncDispose]: () => directory.remove() };
}

for (const reached of [false, true]) {
  const what = reached ? 'had reached the gateway' : 'had not reached the gateway';
  s(`the first update, which ${what} when the server died, is completed`, async () => {
    await using here = await site();
    await using a = await tcpServer(named('a'));
    const first = await here.start();
    const { uid, entry } = await first.setUp();
    await here.stop(first);
    const records = new LevelStreamStore(here.state);
    await records.open();
    const version = (await records.get(uid))?.version ?? 0;
    await records.update(uid, version, { state: 'updating', asked: [a.address] });
    await records.close();
    if (reached) {
      const gateway = await GatewayStore.open(join(here.state, 'gateway'));
      const kept = gateway.get(uid);
      assert.ok(kept);
      await gateway.put(uid, { ...kept, targets: [a.address] });
      await gateway.close();
    }

    await using second = await here.start();
    const { state, targets } = await second.peer.streams.get({ uid });
    assert.equal([state, targets], ['ready', [formatAddress(a.address)]]);
    assert.is(await exchange(entry, 'x'), 'ax');
    const { events } = await second.peer.streams.events({ uid });
    assert.match(events.find(({ what }) => what === 'targets')?.detail ?? '', 'interrupted update');
    await second.peer.control.release({ uid });
  });
}

s('restarts of a proxy are events with a reason, and their count survives the server', async () => {
  await using here = await site();
  const first = await here.start();
  const { uid } = await first.setUp();
  const kill = async (server: TestServer): Promise<void> => {
    const { processes } = await server.leftovers();
    for (const pid of processes) process.kill(pid, 'SIGKILL');
  };
  const count = async (server: TestServer, restarts: number): Promise<void> =>
    eventually(async () => {
      const events = (await server.peer.streams.events({ uid })).events.filter(({ what }) => what === 'restarted');
      assert.equal([(await server.peer.streams.get({ uid })).restarts, events.length], [restarts, restarts]);
      for (const { detail } of events)
        assert.match(detail, /relay exited unexpectedly \(signal SIGKILL|was not running/);
    }, 60_000);
  await kill(first);
  await count(first, 1);
  await here.stop(first);

  const second = await here.start();
  await count(second, 1);
  const { processes } = await second.leftovers();
  await here.stop(second);
  for (const pid of processes) process.kill(pid, 'SIGKILL');
  await using third = await here.start();
  await count(third, 2);
  await third.peer.control.release({ uid });
  assert.is((await third.peer.streams.get({ uid })).restarts, 2, 'even after it has ended');
  assert.equal(await third.leftovers(), NOTHING);
});

s.run();
