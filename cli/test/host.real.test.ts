// needs: root
// suite: full
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chown, mkdir, mkdtemp, readFile, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { eventually } from '@scistream/core/testing';
import { Daemon } from '../../test/support/daemon.js';
import { freeRange } from '../../test/support/ports.js';
import { Home, resultOf } from './support/cli.js';

/** Conditions that containers, login nodes and batch nodes impose on programs. */
const s = suite<{ home: Home }>('conditions of the host');

s.before.each(async (context) => {
  context.home = await Home.create();
});
s.after.each(({ home }) => home.remove());

/**
 * A user id without an entry in /etc/passwd, with only these variables. The working directory of the tests is closed to
 * it.
 */
const unknownUser = (...variables: readonly string[]): readonly string[] => [
  ...['setpriv', '--reuid', '54321', '--regid', '54321', '--clear-groups'],
  ...['env', '-i', `PATH=${process.env.PATH ?? ''}`, ...variables],
];

/** Runs a program below a limit of ulimit(1). */
const limited = (limit: string): readonly string[] => ['sh', '-c', `ulimit ${limit} && exec "$@"`, 'sh'];

const bare: readonly [what: string, variables: readonly string[]][] = [
  ['without any variable', []],
  ['with only HOME', ['HOME=/tmp']],
  ['with directories that do not exist', ['HOME=/nonexistent', 'TMPDIR=/nonexistent']],
  ['with a read-only home', ['HOME=/usr']],
];

for (const [what, variables] of bare) {
  s(`every kind of command answers without an entry in /etc/passwd, ${what}`, async ({ home }) => {
    await using daemon = await Daemon.start({ config: { insecure: true } });
    const user = home.in(unknownUser(...variables));
    const server = ['--s2cs', daemon.address, '--insecure'];
    for (const args of [
      ['--help'],
      ['config', 'show'],
      ['proxies'],
      ['runtimes'],
      ['plugin', 'ls'],
      ['doctor'],
      ['stream', 'ls', ...server],
      ['gateway', 'ls', ...server],
      ['s2uc', 'inbound-request', ...server, '--remote-ip', '127.0.0.1', '--receiver-ports', '9', '--num-conn', '1'],
    ]) {
      const { exitCode, stdout, stderr } = await user.run(args);
      assert.is(exitCode, 0, `${args.join(' ')}: ${stderr}`);
      assert.not.match(stdout + stderr, /SCI_BUG|Unexpected error|node_modules/);
    }
  });
}

s('what cannot be written names the file and the variable that moves it', async ({ home }) => {
  const user = home.in(unknownUser());
  for (const [args, code, how] of [
    [['plugin', 'install', './plugin.tgz'], 'SCI_SYSTEM', /HOME/],
    [['cert', 'init', 'gateway.example'], 'SCI_SYSTEM', /path/],
    [['s2cs', '--insecure'], 'SCI_CONFIG_INVALID', /--state/],
    [['s2ds'], 'SCI_CONFIG_INVALID', /--state/],
  ] as const) {
    const failure = await user.failure(...args);
    assert.is(failure.code, code, failure.message);
    assert.match(failure.suggestions.join(), how);
  }
});

s('a stream that cannot be remembered is a warning, also when stderr is a file', async ({ home }) => {
  await using daemon = await Daemon.start({ config: { insecure: true } });
  const args = ['--insecure', '--remote-ip', '127.0.0.1', '--receiver-ports', '9', '--num-conn', '1'];
  const request = ['s2uc', 'inbound-request', '--s2cs', daemon.address, ...args];
  const { exitCode, stderr } = await home.in(unknownUser()).run(request);
  assert.is(exitCode, 0);
  assert.match(stderr, /SCISTREAM_STATE_DIR/);
});

s('a directory below /proc is rejected, or a warning, and no command hangs', async ({ home }) => {
  await using daemon = await Daemon.start({ config: { insecure: true } });
  const user = home.in(['timeout', '-s', 'KILL', '20', ...unknownUser('HOME=/proc')]);
  const args = ['--insecure', '--remote-ip', '127.0.0.1', '--receiver-ports', '9', '--num-conn', '1'];
  const { exitCode, stderr } = await user.run(['s2uc', 'inbound-request', '--s2cs', daemon.address, ...args]);
  assert.is(exitCode, 0);
  assert.match(stderr, /SCISTREAM_STATE_DIR/);
  const listen = ['--state', join('/tmp', randomUUID()), '--listen', 'unix:/proc/none/socket'];
  for (const [args, code] of [
    [['plugin', 'install', './plugin.tgz'], 'SCI_SYSTEM'],
    [['cert', 'init', 'gateway.example', '--dir', '/proc/none'], 'SCI_SYSTEM'],
    [['s2ds', ...listen], 'SCI_LISTEN_FAILED'],
  ] as const) {
    const failure = await user.failure(...args);
    assert.is(failure.code, code, failure.message);
  }
});

s('a umask that denies the owner does not lock the program out of its own directories', async ({ home }) => {
  const state = await mkdtemp('/tmp/scistream-umask-');
  try {
    await chown(state, 54321, 54321);
    const user = home.in([...unknownUser(`HOME=${state}`), 'sh', '-c', 'umask 0277; exec "$@"', 'sh']);
    const { exitCode, stderr } = await user.run(['cert', 'init', 'a.example', '--dir', join(state, 'certs')]);
    assert.is(exitCode, 0, stderr);
    assert.is((await stat(join(state, 'certs'))).mode & 0o777, 0o700);
  } finally {
    await rm(state, { recursive: true });
  }
});

s('commands run in a working directory that no longer exists', async ({ home }) => {
  const gone = join(home.path, 'gone');
  await mkdir(gone);
  const inside = home.in(['sh', '-c', `cd '${gone}' && rmdir '${gone}' && exec "$@"`, 'sh']);
  const { exitCode, stderr } = await inside.run(['config', 'show']);
  assert.is(exitCode, 0, stderr);
});

s('the user client works with 2 GB of address space', async ({ home }) => {
  await using daemon = await Daemon.start({ config: { insecure: true } });
  const small = home.in(limited('-v 2000000'));
  const server = ['--s2cs', daemon.address, '--insecure'];
  const ids = ['--remote-ip', '127.0.0.1', '--receiver-ports', '9', '--num-conn', '1', '--uid', 'address-space'];
  for (const args of [
    ['gateway', 'ls', ...server],
    ['s2uc', 'inbound-request', ...server, ...ids],
    ['stream', 'status', 'address-space', ...server],
    ['stream', 'down', 'address-space', ...server],
  ]) {
    const { exitCode, stderr } = await small.run(args);
    assert.equal([exitCode, stderr], [0, ''], args.join(' '));
  }
});

s('a limit of 64 open files is one sentence with the number', async ({ home }) => {
  const small = home.in(limited('-n 64'));
  for (const bin of ['s2cs.js', 's2ds.js', 's2uc.js', 'run.js']) {
    const { exitCode, stderr } = await resultOf(small.start(bin, []));
    assert.is(exitCode, 71, bin);
    assert.match(stderr, /^Error: .*\b64\b.* \[SCI_SYSTEM\]\nTry: .*ulimit -n.*\n$/);
  }
  assert.is((await small.failure('config', 'show')).code, 'SCI_SYSTEM');
});

s('a daemon starts and serves on a full log disk, and logs the gap when it can', async ({ home }) => {
  const { first } = await freeRange(1);
  const disk = join(home.path, 'disk');
  await mkdir(disk);
  const fill = `mount -t tmpfs -o size=16k none ${disk} && head -c 16384 /dev/zero > ${disk}/fill`;
  const full = home.in(['unshare', '-m', 'sh', '-c', `${fill}; exec "$@" > ${disk}/log 2>&1`, 'sh']);
  const address = `127.0.0.1:${first}`;
  const daemon = full.start('s2cs.js', ['--insecure', '--verbose', '--listen', address, '--state', 's2cs']);
  try {
    const server = ['--s2cs', address, '--insecure'];
    await eventually(async () => assert.is((await home.run(['gateway', 'ls', ...server])).exitCode, 0), 60_000);
    const inside = `/proc/${daemon.pid}/root${disk}`;
    assert.is(await readFile(`${inside}/log`, 'utf8'), '');
    await truncate(`${inside}/fill`);
    await eventually(async () => {
      await home.run(['stream', 'down', 'unknown-stream', ...server]);
      assert.match(await readFile(`${inside}/log`, 'utf8'), /ENOSPC.*"msg":"log was not writable"/);
    }, 60_000);
  } finally {
    const exit = once(daemon, 'exit');
    daemon.kill('SIGTERM');
    assert.equal(await exit, [0, null]);
  }
});

s.run();
