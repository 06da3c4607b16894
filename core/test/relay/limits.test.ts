import { connect } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { relayOptions } from '@scistream/core/internal';
import { read } from '@scistream/core/testing';
import { cleanUp, ending, startRelay, Target, until } from '../support/relay.js';

const s = suite('relay worker, limits');
s.after.each(cleanUp);

/** Opens connections one after another until one is closed, and returns how many work. */
async function fill(relay: Awaited<ReturnType<typeof startRelay>>): Promise<number> {
  for (let count = 0; count < 200; count += 1) {
    const client = relay.dial();
    client.write('x');
    if ((await read(client, 1).catch(() => '')) !== 'x') return count;
  }
  throw new Error('no connection was closed');
}

s('resets connections above maxConnections, counts them, and accepts again when one has ended', async () => {
  const target = new Target((socket) => socket.pipe(socket));
  const relay = await startRelay({ targets: [await target.listen()], maxConnections: 3 });
  assert.is(await fill(relay), 3);
  assert.equal((await relay.say('{"cmd":"status"}'))[0]?.['maxConnections'], 3);
  const { open, limitReached, unreachable } = await relay.status();
  assert.equal([open, limitReached, unreachable], [3, 1, 0]);
  target.accepted[0]?.resetAndDestroy();
  await until('one has ended', async () => (await relay.status()).open === 2);
  const next = relay.dial();
  next.write('x');
  assert.is(await read(next, 1), 'x');
});

s('stays below its limit of open files, and counts what it rejects', async () => {
  const target = new Target((socket) => socket.pipe(socket));
  const relay = await startRelay({ targets: [await target.listen()] }, [], 80);
  const [status] = await relay.say('{"cmd":"status"}');
  assert.is(await fill(relay), status?.['maxConnections']);
  const { limitReached, unreachable } = await relay.status();
  assert.equal([limitReached, unreachable], [1, 0]);
  const late = connect(relay.listeners[0]?.port ?? 0, '127.0.0.1');
  assert.is(await ending(late.resume()), 'ECONNRESET');
});

s('has a limit without a configuration', () => {
  assert.is(relayOptions.parse({}).maxConnections, 1_000);
});

s.run();
