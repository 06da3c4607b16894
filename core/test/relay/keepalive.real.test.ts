// needs: root, netns
// suite: full
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { island } from '../../../test/support/namespaces.js';
import { cleanUp, freePort, startRelay, until } from '../support/relay.js';

const s = suite('relay worker, keepalive');
s.after.each(cleanUp);

/** Longer than the idle time and ten probes of Node.js, one second apart. */
const SILENCE_MS = 14_000;
/** Echoes on a port, and joins its standard streams to a connection through the relay. Arguments: port, relay. */
const PROGRAM = `
const net = require('node:net');
const [port, relayPort, relayHost] = process.argv.slice(1);
net.createServer((socket) => socket.pipe(socket).on('error', () => undefined)).listen(port, () => {
  const client = net.connect(relayPort, relayHost);
  process.stdin.pipe(client).pipe(process.stdout);
});`;

s('a quiet connection survives a silent network on both legs, and one without an answer is reset', async () => {
  await using far = await island();
  const listener = { host: far.near, port: await freePort() };
  const port = await freePort();
  const times = { keepaliveIdleMs: 1_000, keepaliveProbingMs: 20_000 };
  const relay = await startRelay({ listeners: [listener], targets: [{ host: far.far, port }], ...times });
  const [command = '', ...prefix] = far.prefix;
  const args = [...prefix, process.execPath, '-e', PROGRAM, String(port), String(listener.port), listener.host];
  const program = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    program.stdin.write('before');
    assert.is(String(await once(program.stdout, 'data')), 'before');
    await far.unplug();
    // The network is silent for this time, and nothing can be observed.
    await sleep(SILENCE_MS);
    await far.plug();
    program.stdin.write('after');
    assert.is(String(await once(program.stdout, 'data')), 'after');
    assert.equal([(await relay.status()).open, (await relay.status()).errors], [1, 0]);
    await far.unplug();
    await until('dead peers detected', async () => (await relay.status()).open === 0);
    assert.is((await relay.status()).unreachable, 0);
  } finally {
    program.kill('SIGKILL');
  }
});

s.run();
