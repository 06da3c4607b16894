import { spawn } from 'node:child_process';
import { readdir, readFile, readlink, stat, symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger } from '@scistream/core';
import { ProcessRuntime } from '@scistream/core/internal';
import { eventually, temporaryDirectory } from '@scistream/core/testing';
import { CHILD, Fixture, LABELS, READY, REF, refusal, specOf, STUBBORN } from '../support/process.js';

const s = suite('process runtime');

/** Pids of the processes that work in a directory. */
async function workingIn(directory: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => '')));
  return pids.filter((_, i) => found[i] === directory).map(Number);
}

s('create, start, inspect, stop and remove can each be repeated', async () => {
  await using fixture = await Fixture.make();
  const { runtime } = fixture;
  const spec = specOf(READY);
  assert.is((await runtime.inspect(REF)).status, 'absent');
  await runtime.stop(REF, 10);
  await runtime.remove(REF);
  assert.equal(await runtime.create(spec), REF);
  assert.equal(await runtime.inspect(REF), { ...REF, status: 'created', labels: LABELS });
  await runtime.start(REF, spec);
  const { status, pid = 0 } = await runtime.inspect(REF);
  assert.is(status, 'running');
  assert.is(await readlink(`/proc/${pid}/cwd`), fixture.path().replace(/\/$/, ''));
  await runtime.stop(REF, 2_000);
  await runtime.stop(REF, 2_000);
  const { status: after, exit } = await runtime.inspect(REF);
  assert.equal([after, exit], ['exited', 'signal SIGTERM']);
  await runtime.remove(REF);
  await runtime.remove(REF);
  assert.equal(
    [await runtime.inspect(REF), await readdir(fixture.directory)],
    [{ ...REF, status: 'absent', labels: {} }, []],
  );
});

s('stop kills a program that ignores its signal, and its children', async () => {
  await using fixture = await Fixture.make();
  await fixture.run(CHILD + STUBBORN);
  const directory = fixture.path().replace(/\/$/, '');
  await eventually(async () => assert.is((await workingIn(directory)).length, 2));
  const begun = performance.now();
  await fixture.runtime.stop(REF, 100);
  assert.ok(performance.now() - begun >= 100, 'the program had the grace period');
  assert.equal(await workingIn(directory), []);
  assert.match(await fixture.runtime.logs(REF, 100), /asked/);
  assert.is((await fixture.runtime.inspect(REF)).exit, 'signal SIGKILL');
});

s('stop finds children whose parent ended earlier', async () => {
  await using fixture = await Fixture.make();
  const spec = specOf(CHILD);
  await fixture.runtime.create(spec);
  await fixture.runtime.start(REF, spec);
  await eventually(async () => assert.is((await fixture.runtime.inspect(REF)).status, 'exited'));
  const directory = fixture.path().replace(/\/$/, '');
  await eventually(async () => assert.match(await fixture.runtime.logs(REF, 10), /ready/));
  assert.is((await workingIn(directory)).length, 1);
  await fixture.runtime.stop(REF, 1_000);
  assert.equal(await workingIn(directory), []);
});

s('stop finds children in a directory behind a symbolic link', async () => {
  await using real = await temporaryDirectory();
  await using links = await temporaryDirectory();
  const link = join(links.path, 'state');
  await symlink(real.path, link);
  const runtime = new ProcessRuntime({ directory: join(link, 'instances'), log: silentLogger });
  const spec = specOf(CHILD + READY);
  await runtime.create(spec);
  await runtime.start(REF, spec);
  const directory = join(real.path, 'instances', REF.name);
  await eventually(async () => assert.is((await workingIn(directory)).length, 2));
  await runtime.stop(REF, 1_000);
  const left = await workingIn(directory);
  for (const pid of left) process.kill(pid, 'SIGKILL');
  assert.equal(left, []);
});

s('stop does not kill an unrelated shell in the directory of the instance', async () => {
  await using fixture = await Fixture.make();
  await fixture.run(READY);
  const stranger = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
    cwd: fixture.path(),
    detached: true,
  });
  await once(stranger, 'spawn');
  try {
    await fixture.runtime.stop(REF, 1_000);
    assert.equal(await workingIn(fixture.path().replace(/\/$/, '')), [stranger.pid]);
  } finally {
    stranger.kill('SIGKILL');
  }
});

s('another runtime on the same directory finds, watches and stops running instances', async () => {
  await using fixture = await Fixture.make();
  const pid = await fixture.run(READY);
  const other = new ProcessRuntime({ directory: fixture.directory, log: silentLogger });
  const [found, ...more] = await other.list({ 'org.scistream.managed': 'true' });
  assert.equal([found, more], [{ ...REF, status: 'running', labels: LABELS, pid }, []]);
  assert.equal(await other.list({ 'org.scistream.managed': 'false' }), []);
  assert.equal(await other.list({ ...LABELS, more: 'x' }), []);
  const exited = other.exited(REF, new AbortController().signal);
  await other.stop(REF, 2_000);
  assert.is((await exited).status, 'exited');
  assert.equal(await workingIn(fixture.path().replace(/\/$/, '')), []);
});

s('a later process with the same pid is not touched', async () => {
  await using fixture = await Fixture.make();
  await fixture.run(READY);
  const file = fixture.path('.instance.json');
  const record = JSON.parse(await readFile(file, 'utf8')) as { process: { pid: number; startTime: string } };
  await fixture.runtime.putFiles(REF, {
    '.instance.json': JSON.stringify({ ...record, process: { pid: process.pid, startTime: record.process.startTime } }),
  });
  const later = new ProcessRuntime({ directory: fixture.directory, log: silentLogger });
  assert.is((await later.inspect(REF)).status, 'exited', 'this process is not the instance');
  await refusal(later.signal(REF, 'SIGKILL'), 'SCI_PROXY_DIED');
  await later.stop(REF, 100);
  assert.equal(await workingIn(fixture.path().replace(/\/$/, '')), [], 'a process in its directory belongs to it');
});

s('a name in use is rejected and its files are not touched', async () => {
  await using fixture = await Fixture.make();
  await fixture.runtime.create(specOf('1'));
  const { message } = await refusal(fixture.runtime.create(specOf('2')), 'SCI_CONTAINER_CONFLICT');
  assert.match(message, /one/);
  assert.is(await readFile(fixture.path('main.cjs'), 'utf8'), '1');
});

s('the error names a program that is not installed or not executable', async () => {
  await using fixture = await Fixture.make();
  const spec = specOf('', { executable: 'no-such-proxy-7' });
  await fixture.runtime.create(spec);
  const { message, suggestions } = await refusal(fixture.runtime.start(REF, spec), 'SCI_EXECUTABLE_NOT_FOUND');
  assert.match(message, /no-such-proxy-7/);
  assert.ok(suggestions.some((text) => text.includes('apt-get install no-such-proxy-7')));
  assert.is((await fixture.runtime.inspect(REF)).status, 'created');
  await refusal(fixture.runtime.exec(REF, ['no-such-checker-7'], 1_000), 'SCI_EXECUTABLE_NOT_FOUND');
  await refusal(fixture.runtime.start(REF, { ...spec, executable: fixture.path('main.cjs') }), 'SCI_RUNTIME_FAILED');
});

s('files are 0600 in directories 0700, replaced atomically, and have plain names', async () => {
  await using fixture = await Fixture.make();
  await fixture.run(READY, { files: { 'main.cjs': READY, 'a.cfg': 'one' } });
  const mode = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;
  assert.equal([await mode(fixture.directory), await mode(fixture.path())], [0o700, 0o700]);
  await fixture.runtime.putFiles(REF, { 'a.cfg': 'two', 'b.cfg': 'three' });
  const files = (await readdir(fixture.path())).sort();
  assert.equal(files, ['.instance.json', 'a.cfg', 'b.cfg', 'log', 'main.cjs']);
  for (const file of files) assert.is(await mode(fixture.path(file)), 0o600, file);
  assert.is(await readFile(fixture.path('a.cfg'), 'utf8'), 'two');
  for (const name of ['../evil', 'a/b', '/etc/x', 'a b', ''])
    await refusal(fixture.runtime.putFiles(REF, { [name]: 'x' }), 'SCI_RUNTIME_FAILED');
  for (const name of ['..', 'a/b', '../one', '', 'a.b'])
    await refusal(fixture.runtime.create({ ...specOf(''), name }), 'SCI_RUNTIME_FAILED');
});

s('what the dynamic linker and OpenSSL of the daemon need reaches the program', async () => {
  // A directory that does not exist: this process and others read these variables, too.
  const needed = { LD_LIBRARY_PATH: '/nonexistent/lib', OPENSSL_MODULES: '/nonexistent/ossl-modules' };
  Object.assign(process.env, needed);
  try {
    await using fixture = await Fixture.make();
    await fixture.run(READY);
    const { pid = 0 } = await fixture.runtime.inspect(REF);
    const entries = (await readFile(`/proc/${pid}/environ`, 'utf8')).split('\0');
    for (const [name, value] of Object.entries(needed)) assert.ok(entries.includes(`${name}=${value}`), name);
  } finally {
    for (const name of Object.keys(needed)) Reflect.deleteProperty(process.env, name);
  }
});

s('the environment of the daemon does not reach the program', async () => {
  process.env.SCISTREAM_TOKEN = 'secret-token';
  process.env.NODE_OPTIONS = '';
  await using fixture = await Fixture.make();
  try {
    const pid = await fixture.run(READY);
    const names = (await readFile(`/proc/${pid}/environ`, 'utf8')).split('\0').map((entry) => entry.split('=')[0]);
    // Node.js itself passes NODE_V8_COVERAGE to every child (`npm run coverage`).
    const allowed = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'SCISTREAM_INSTANCE', 'NODE_V8_COVERAGE', ''];
    assert.equal(
      names.filter((name) => !allowed.includes(name ?? '')),
      [],
    );
    assert.ok(names.includes('PATH'));
    const { stdout } = await fixture.runtime.exec(REF, ['env'], 5_000);
    assert.not.match(stdout, /SCISTREAM_TOKEN|secret|NODE_OPTIONS/);
  } finally {
    delete process.env.SCISTREAM_TOKEN;
    delete process.env.NODE_OPTIONS;
  }
});

s('exec runs beside the program, in its directory, and returns exit code and output', async () => {
  await using fixture = await Fixture.make();
  await fixture.runtime.create(specOf(READY));
  const script = 'console.log(process.cwd()); console.error("bad"); process.exit(3)';
  const result = await fixture.runtime.exec(REF, [process.execPath, '-e', script], 5_000);
  assert.equal(result, { exitCode: 3, stdout: `${fixture.path().replace(/\/$/, '')}\n`, stderr: 'bad\n' });
  await refusal(fixture.runtime.exec(REF, ['sleep', '30'], 50), 'SCI_RUNTIME_FAILED');
});

s('passes sockets on as descriptors from 3', async () => {
  await using fixture = await Fixture.make();
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  const script = `console.log('ready', require('node:fs').readlinkSync('/proc/self/fd/3'), process.argv[2]); ${READY}`;
  await fixture.run(script, { sockets: [fd], args: ['main.cjs', 'argument'] });
  const inode = await readlink(`/proc/self/fd/${fd}`);
  server.close();
  assert.ok((await fixture.runtime.logs(REF, 10)).startsWith(`ready ${inode} argument`));
});

s('every waiting caller receives how a program ended', async () => {
  await using fixture = await Fixture.make();
  const spec = specOf('console.error("last words"); process.exitCode = 7;');
  await fixture.runtime.create(spec);
  await fixture.runtime.start(REF, spec);
  const never = new AbortController();
  const watching = Promise.all([1, 2].map(() => fixture.runtime.exited(REF, never.signal)));
  // A watch does not keep this process alive, so the test polls as well.
  await eventually(async () => assert.is((await fixture.runtime.inspect(REF)).status, 'exited'));
  const ends = await watching;
  assert.equal(
    ends.map(({ status, exit }) => [status, exit]),
    [
      ['exited', 'exit code 7'],
      ['exited', 'exit code 7'],
    ],
  );
  assert.is(await fixture.runtime.logs(REF, 1), 'last words');
});

s('a wait for the end stops when its signal aborts', async () => {
  await using fixture = await Fixture.make();
  await fixture.run(READY);
  const stop = new AbortController();
  const waiting = fixture.runtime.exited(REF, stop.signal);
  stop.abort(new Error('enough'));
  await waiting.then(
    () => assert.unreachable('it still runs'),
    (error: unknown) => assert.match(String(error), /enough/),
  );
});

s('returns the last lines of the log, also of a long one', async () => {
  await using fixture = await Fixture.make();
  await fixture.run(`for (let i = 0; i < 20000; i += 1) console.log('line', i); ${READY}`);
  assert.equal((await fixture.runtime.logs(REF, 3)).split('\n'), ['line 19998', 'line 19999', 'ready']);
});

s('connects to a unix socket of the program, however deep its directory is', async () => {
  const deep = Array.from({ length: 12 }, () => 'a-directory-name').join('/');
  await using fixture = await Fixture.make(deep);
  const script = `require('node:net').createServer((c) => c.end('hello')).listen('x.sock', () => console.log('ready'));`;
  await fixture.run(script);
  let text = '';
  for await (const chunk of await fixture.runtime.dial(REF, 'x.sock')) text += String(chunk);
  assert.is(text, 'hello');
});

s('a program keeps running without the daemon and its terminal', async () => {
  await using fixture = await Fixture.make();
  const pid = await fixture.run(READY);
  const stat_ = await readFile(`/proc/${pid}/stat`, 'utf8');
  const [, , group, session] = stat_
    .slice(stat_.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  assert.equal([group, session], [pid, pid], 'its own session, out of reach of signals to ours');
});

s.run();
