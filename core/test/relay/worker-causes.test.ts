import { suite } from 'uvu';
import * as assert from 'uvu/assert';
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

s.run();
