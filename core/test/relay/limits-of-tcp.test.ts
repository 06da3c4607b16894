import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { read } from '@scistream/core/testing';
import { cleanUp, readAll, startRelay, Target } from '../support/relay.js';

/** "What no proxy carries" in docs/guide/proxies.md. Node.js sends no urgent data, Perl is part of every Debian. */
const s = suite('what no proxy carries');
s.after.each(cleanUp);

const URGENT = `
  use Socket;
  socket(my $s, PF_INET, SOCK_STREAM, 0) or die $!;
  connect($s, sockaddr_in($ARGV[0], inet_aton('127.0.0.1'))) or die $!;
  send($s, 'before', 0) or die $!;
  send($s, '!', MSG_OOB) or die $!;
  send($s, 'after', 0) or die $!;
  shutdown($s, 1);
  print while <$s>;
`;

s('urgent data: the urgent byte is dropped, the bytes before and after it arrive', async () => {
  const target = new Target();
  const relay = await startRelay({ targets: [await target.listen()] });
  const client = spawn('perl', ['-e', URGENT, String(relay.listeners[0]?.port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(client, 'exit');
  const answer = text(client.stdout);
  const server = await target.socket();
  assert.is((await readAll(server)).toString(), 'beforeafter');
  server.end('received');
  assert.is(await answer, 'received');
  assert.equal(await exit, [0, null]);
});

s('FTP: the addresses of data connections arrive unchanged, so that these go past the gateway', async () => {
  const passive = '227 Entering Passive Mode (192,0,2,7,195,80)\r\n';
  const active = 'PORT 198,51,100,9,195,81\r\n';
  const target = new Target((socket) => socket.write(passive));
  const relay = await startRelay({ targets: [await target.listen()] });
  const client = relay.dial();
  assert.is(await read(client, passive.length), passive);
  client.write(active);
  assert.is(await read(await target.socket(), active.length), active);
});

s.run();
