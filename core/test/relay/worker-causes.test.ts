import { once } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { eventually } from '@scistream/core/testing';
import { cleanUp, ending, freePort, readAll, startRelay, Target } from '../support/relay.js';

const s = suite('relay worker, failures by cause');
s.after.each(cleanUp);

s('counts unreachable targets, until a connection reaches one or the target changes', async () => {
  const target = new Target((socket) => socket.end('data'));
  const address = await target.listen();
  const gone = { host: '127.0.0.1', port: await freePort() };
  const relay = await startRelay({ targets: [gone], holdMs: 200 });
  const fail = async (): Promise<void> => {
    assert.is(await ending(relay.dial()), 'ECONNRESET');
  };
  const seen = async (): Promise<readonly number[]> => {
    const { unreachable, unreachableNow, errors } = await relay.status();
    return [unreachable, unreachableNow, errors];
  };
  await fail();
  await fail();
  assert.equal(await seen(), [2, 2, 2]);
  await relay.retarget(address);
  assert.equal(await seen(), [2, 0, 2]);
  assert.is((await readAll(relay.dial())).toString(), 'data');
  assert.equal(await seen(), [2, 0, 2]);
  await relay.retarget(gone);
  await fail();
  assert.equal(await seen(), [3, 1, 3]);
});

s('does not count a client that leaves without waiting, such as a port scanner', async () => {
  const gone = { host: '127.0.0.1', port: await freePort() };
  const relay = await startRelay({ targets: [gone], holdMs: 60_000, retryMs: 30_000 });
  const scanner = relay.dial();
  await once(scanner, 'connect');
  scanner.end();
  await ending(scanner);
  const { unreachable, errors, connections } = await relay.status();
  assert.equal([unreachable, errors, connections], [0, 0, 1]);
});

for (const leave of ['end', 'resetAndDestroy'] as const) {
  s(`counts a client that waits for a retry and then leaves (${leave}) by what kept it waiting`, async () => {
    const gone = { host: '127.0.0.1', port: await freePort() };
    const relay = await startRelay({ targets: [gone], holdMs: 60_000, retryMs: 1 });
    await eventually(async () => {
      const consumer = relay.dial();
      await once(consumer, 'connect');
      // The relay retries every millisecond, so that one has passed after a few answers.
      for (let i = 0; i < 10; i += 1) await relay.status();
      consumer[leave]();
      const { unreachable, unreachableNow } = await relay.status();
      assert.ok(unreachable > 0 && unreachableNow === unreachable, `${unreachable} counted`);
    });
  });
}

s.run();
