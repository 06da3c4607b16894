// needs: root, netns
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { island } from '../../../test/support/namespaces.js';
import { cleanUp, ending, startRelay, Target, until } from '../support/relay.js';

const execute = promisify(execFile);
const s = suite('relay worker, local ports');
s.after.each(cleanUp);

s('tells that no local port is free, and does not blame the target', async () => {
  await using far = await island();
  const [command = '', ...prefix] = far.prefix;
  const range = 'echo "40000 40003" > /proc/sys/net/ipv4/ip_local_port_range';
  await execute(command, [...prefix, 'sh', '-c', range]);
  const target = new Target((socket) => socket.pipe(socket));
  const { port } = await target.listen(0, far.near);
  const listeners = [{ host: far.far, port: 50_000 }];
  const relay = await startRelay({
    ...{ listeners, targets: [{ host: far.near, port }], holdMs: 500, prefix: far.prefix },
  });
  const clients = Array.from({ length: 6 }, () => relay.dial().resume());
  const ends = clients.map(ending);
  await until('four connected', async () => (await relay.status()).established === 4);
  await until('two failed', async () => (await relay.status()).limitReachedNow === 2);
  assert.equal(await Promise.race(ends), 'ECONNRESET');
  const { limitReached, unreachable } = await relay.status();
  assert.equal([limitReached, unreachable], [2, 0]);
});

s.run();
