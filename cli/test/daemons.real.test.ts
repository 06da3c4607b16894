import { existsSync } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { once } from 'node:events';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Home, nextLine, resultOf } from './support/cli.js';

const s = suite<{ home: Home }>('daemons');

s.before.each(async (context) => {
  context.home = await Home.create();
});
s.after.each(({ home }) => home.remove());

/** A currently free port. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

for (const [signal, bin, args] of [
  ['SIGINT', 'run.js', ['s2cs']],
  ['SIGTERM', 's2cs.js', []],
] as const) {
  s(`s2cs (${bin}) prints its listen address and exits with 0 on ${signal}`, async ({ home }) => {
    const listen = `127.0.0.1:${await freePort()}`;
    const daemon = home.start(bin, [...args, '--facility', 'aps', '--listen', listen, '--state', 's2cs']);
    const result = resultOf(daemon);
    assert.match(
      await nextLine(daemon),
      new RegExp(`^s2cs aps listens on ${listen} \\(fingerprint sha256:[0-9a-f]{64}\\)$`),
    );
    daemon.kill(signal);
    assert.is((await result).exitCode, 0);
  });
}

s('s2cs prints one JSON document with --json, and its log as JSON lines on stderr', async ({ home }) => {
  const port = await freePort();
  const args = ['--json', '--insecure', '--facility', 'aps', '--listen', `127.0.0.1:${port}`, '--state', 's2cs'];
  const daemon = home.start('s2cs.js', [...args, '--verbose']);
  const result = resultOf(daemon);
  const said: unknown = JSON.parse(await nextLine(daemon));
  assert.equal(said, { facility: 'aps', listen: `127.0.0.1:${port}`, insecure: true });
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.destroy();
  daemon.kill('SIGTERM');
  const { exitCode, stdout, stderr } = await result;
  assert.is(exitCode, 0);
  assert.equal(JSON.parse(stdout), said);
  for (const line of stderr.split('\n').filter(Boolean)) assert.type(JSON.parse(line), 'object');
});

s('a second s2cs with the same state directory is rejected', async ({ home }) => {
  const args = ['--facility', 'aps', '--state', 's2cs', '--insecure', '--listen'];
  const daemon = home.start('s2cs.js', [...args, `127.0.0.1:${await freePort()}`]);
  const result = resultOf(daemon);
  await nextLine(daemon);
  const { exitCode, code } = await home.failure('s2cs', ...args, `127.0.0.1:${await freePort()}`);
  assert.equal([exitCode, code], [7, 'SCI_STATE_LOCKED']);
  daemon.kill('SIGTERM');
  assert.is((await result).exitCode, 0);
});

s('s2ds listens on a private socket and exits with 0 on SIGTERM', async ({ home }) => {
  const path = join(home.path, 'run', 's2ds.sock');
  const daemon = home.start('s2ds.js', ['--name', 'dtn1', '--listen', `unix:${path}`, '--state', 's2ds', '--json']);
  const result = resultOf(daemon);
  assert.equal(JSON.parse(await nextLine(daemon)), { name: 'dtn1', listen: `unix:${path}` });
  assert.is((await stat(path)).mode & 0o777, 0o600);
  daemon.kill('SIGTERM');
  assert.is((await result).exitCode, 0);
});

for (const [kind, needed] of [
  ['s2cs', 'insecure: true'],
  ['s2ds', 'name: dtn1'],
] as const) {
  s(`${kind} does not start with a configuration that SIGHUP would reject`, async ({ home }) => {
    await writeFile(join(home.path, 'daemon.conf'), `${needed}\nstate: state\nproxies: { haprxy: {} }\n`);
    const { exitCode, code } = await home.failure(kind, '--config', 'daemon.conf');
    assert.equal([exitCode, code], [5, 'SCI_PROXY_UNKNOWN']);
    assert.is(existsSync(join(home.path, 'state')), false);
  });
}

s('--check reports a valid configuration and starts nothing', async ({ home }) => {
  const { exitCode, stdout } = await home.run(['s2ds', '--check', '--name', 'dtn1']);
  assert.is(exitCode, 0);
  assert.match(stdout, /^The configuration of s2ds dtn1 on unix:.* is valid\./);
  assert.equal(await home.json('s2cs', '--check', '--facility', 'aps'), {
    valid: true,
    facility: 'aps',
    listen: '127.0.0.1:5000',
  });
});

s('the daemon programs print their version', async ({ home }) => {
  for (const bin of ['s2cs.js', 's2ds.js']) {
    const { exitCode, stdout } = await resultOf(home.start(bin, ['--version']));
    assert.is(exitCode, 0);
    assert.match(stdout, /^@scistream\/cli\/\d/);
  }
});

s.run();
