// needs: docker, root
// suite: full
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LABELS } from '@scistream/core';
import { expectCode } from '@scistream/core/testing';
import { testEngine, type EngineInUse } from '../../../test/support/engine.js';
import { Fixture, freshName, IMAGE, READY, specOf, until } from './support.js';

const s = suite('docker runtime');

let engine: EngineInUse;
s.before(async () => {
  engine = await testEngine();
});
s.after(async () => {
  await engine[Symbol.asyncDispose]();
});

const never = new AbortController().signal;

for (const files of ['bind', 'volume'] as const) {
  s(`${files}: create, start, inspect, stop, remove, all idempotent`, async () => {
    await using fixture = await Fixture.make(engine.host, { files });
    const { runtime } = fixture;
    await runtime.ping();
    const spec = specOf(READY);
    const ref = { name: spec.name };
    assert.equal(await runtime.inspect(ref), { ...ref, status: 'absent', labels: {} });
    await runtime.stop(ref, 10);
    await runtime.remove(ref);
    assert.equal(await fixture.create(spec), ref);
    assert.equal(await runtime.inspect(ref), { ...ref, status: 'created', labels: spec.labels });
    assert.equal(await runtime.create(spec), ref, 'as after a lost answer');
    await runtime.start(ref, spec);
    await runtime.start(ref, spec);
    await until(async () => (await runtime.logs(ref, 5)) === 'ready');
    const { status, pid = 0, labels } = await runtime.inspect(ref);
    assert.equal([status, labels], ['running', spec.labels]);
    assert.match(await readFile(`/proc/${pid}/cmdline`, 'utf8'), /^sh\0main\.sh/);
    await expectCode('SCI_CONTAINER_CONFLICT', runtime.create(spec));
    await expectCode('SCI_RUNTIME_FAILED', runtime.remove(ref));
    assert.equal(
      (await runtime.list({ [LABELS.uid]: spec.name })).map(({ name, status, pid }) => [name, status, pid]),
      [[ref.name, 'running', pid]],
    );
    assert.equal(await runtime.list({ [LABELS.uid]: spec.name, other: 'x' }), []);
    await runtime.stop(ref, 5_000);
    await runtime.stop(ref, 5_000);
    const { status: after, exit } = await runtime.inspect(ref);
    assert.equal([after, exit], ['exited', 'signal SIGTERM'], 'the program receives the signal');
    await expectCode('SCI_PROXY_DIED', runtime.signal(ref, 'SIGHUP'));
    await runtime.remove(ref);
    await runtime.remove(ref);
    assert.is((await runtime.inspect(ref)).status, 'absent');
    assert.equal(await readdir(fixture.directory), []);
    assert.equal((await fixture.docker.listVolumes()).Volumes ?? [], []);
  });

  s(`${files}: commands run beside the program before and after its start and leave nothing behind`, async () => {
    await using fixture = await Fixture.make(engine.host, { files });
    const { runtime } = fixture;
    const spec = specOf(READY, { files: { 'main.sh': READY, 'a.cfg': 'one' } });
    const ref = await fixture.create(spec);
    const command = ['sh', '-c', 'pwd; cat a.cfg; id -u; ls /sys/class/net | wc -l; echo bad >&2; exit 3'];
    const directory = files === 'bind' ? '/scistream' : '/scistream/instance';
    const networks: unknown[] = [];
    for (const running of [false, true]) {
      if (running) await runtime.start(ref, spec);
      const { exitCode, stdout, stderr } = await runtime.exec(ref, command, 20_000);
      const [pwd, content, net] = stdout.split('\n');
      assert.equal([exitCode, pwd, content, stderr], [3, directory, 'one65534', 'bad\n']);
      networks.push(net);
      await expectCode('SCI_EXECUTABLE_NOT_FOUND', runtime.exec(ref, ['no-such-7'], 20_000));
      const begun = performance.now();
      await expectCode('SCI_RUNTIME_FAILED', runtime.exec(ref, ['sleep', '347'], 1_000));
      assert.ok(performance.now() - begun < 15_000);
      assert.equal(
        (await fixture.names()).filter((name) => name.endsWith('-check')),
        [],
      );
      assert.is(await sleepers(), 0, 'the command was stopped');
    }
    // A command that checks a configuration sees the addresses of the program.
    assert.is(networks[0], networks[1]);
  });

  s(`${files}: files are private to the program and replaced atomically while it runs`, async () => {
    await using fixture = await Fixture.make(engine.host, { files });
    const { runtime } = fixture;
    const half = 'x'.repeat(20_000);
    const script = `echo ready; while :; do n=$(wc -c < a.cfg) || echo BAD gone; [ "$n" = 20001 ] || echo "BAD $n"; done`;
    const spec = specOf(script, { files: { 'main.sh': script, 'a.cfg': `${half}0` } });
    const ref = await fixture.run(spec);
    for (let i = 1; i < 8; i += 1) await runtime.putFiles(ref, { 'a.cfg': `${half}${i}`, [`b${i}.cfg`]: 'b' });
    const { stdout } = await runtime.exec(ref, ['sh', '-c', 'tail -c 1 a.cfg; stat -c "%a %u %n" . *.cfg'], 20_000);
    assert.match(stdout, /^7700 65534 \.\n600 65534 a\.cfg\n600 65534 b1\.cfg\n/);
    assert.not.match(await runtime.logs(ref, 1_000), /BAD/);
    for (const name of ['../evil', 'a/b', '/etc/x', 'a b', '', '..'])
      await expectCode('SCI_RUNTIME_FAILED', runtime.putFiles(ref, { [name]: 'x' }));
  });
}

/** Number of processes of the long command of a test. */
async function sleepers(): Promise<number> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return lines.filter((line) => line === 'sleep\u0000347\u0000').length;
}

s('a program has minimal rights', async () => {
  await using fixture = await Fixture.make(engine.host, { memory: '64MiB', cpus: 0.5 });
  const spec = specOf(`touch /x 2>&1; ${READY}`);
  const ref = await fixture.run(spec);
  const { HostConfig, Config } = await fixture.docker.getContainer(ref.name).inspect();
  const expected = {
    ReadonlyRootfs: true,
    CapDrop: ['ALL'],
    CapAdd: null,
    SecurityOpt: ['no-new-privileges'],
    Init: true,
    PidsLimit: 512,
    Memory: 64 * 2 ** 20,
    NanoCpus: 5e8,
    NetworkMode: 'host',
    Privileged: false,
  };
  for (const [key, value] of Object.entries(expected))
    assert.equal(Object.entries(HostConfig).find(([name]) => name === key)?.[1], value, key);
  assert.is(Config.User, '65534:65534');
  assert.equal(HostConfig.LogConfig, { Type: 'local', Config: { 'max-size': '1m' } });
  assert.is(HostConfig.RestartPolicy?.Name, 'no');
  const { pid } = await fixture.runtime.inspect(ref);
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  for (const line of ['Uid:\t65534', 'Gid:\t65534', 'CapEff:\t0000000000000000', 'CapBnd:\t0000000000000000'])
    assert.ok(status.includes(line), line);
  assert.match(status, /NoNewPrivs:\t1/);
  assert.match(await fixture.runtime.logs(ref, 10), /Read-only file system/);
  const path = join(fixture.directory, ref.name);
  const { mode, uid } = await stat(path);
  assert.equal([mode & 0o777, uid], [0o700, 65534]);
});

s('only a port below 1024 gives a capability', async () => {
  await using fixture = await Fixture.make(engine.host);
  const spec = specOf(READY, { listeners: [{ host: '127.0.0.1', port: 997 }] });
  const script = `require('node:net').createServer((c) => c.end('low')).listen(997, '127.0.0.1', () => console.log('ready'));`;
  const program = { ...spec, executable: 'node', args: ['m.cjs'], files: { 'm.cjs': script } };
  const ref = await fixture.create(program);
  // A command that checks a configuration can bind its addresses.
  const check = await fixture.runtime.exec(ref, ['cat', '/proc/self/status'], 60_000);
  assert.match(check.stdout, /CapEff:\t0000000000000400/);
  await fixture.run(program);
  const { pid } = await fixture.runtime.inspect(ref);
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  assert.match(status, /CapEff:\t0000000000000400/);
  assert.match(status, /CapBnd:\t0000000000000400/);
});

s('dial reaches a unix socket of the program in a mounted directory', async () => {
  await using fixture = await Fixture.make(engine.host);
  const script = `require('node:net').createServer((c) => c.end('hello')).listen('x.sock', () => console.log('ready'));`;
  const ref = await fixture.run(specOf('', { executable: 'node', args: ['m.cjs'], files: { 'm.cjs': script } }));
  let text = '';
  for await (const chunk of await fixture.runtime.dial(ref, 'x.sock')) text += String(chunk);
  assert.is(text, 'hello');
  const modes = [
    fixture.runtime.supports.dial,
    (await Fixture.make(engine.host, { files: 'volume' })).runtime.supports.dial,
  ];
  assert.equal(modes, [true, false]);
});

s('a signal reaches the program', async () => {
  await using fixture = await Fixture.make(engine.host);
  const ref = await fixture.run(specOf(`trap 'echo hup' HUP; trap 'echo usr2' USR2; ${READY}`));
  for (const [signal, word] of [
    ['SIGHUP', /hup/],
    ['SIGUSR2', /usr2/],
  ] as const) {
    await fixture.runtime.signal(ref, signal);
    await until(async () => word.test(await fixture.runtime.logs(ref, 10)));
  }
});

s('stop ends a program that ignores its signal, and its children', async () => {
  await using fixture = await Fixture.make(engine.host);
  const ref = await fixture.run(specOf(`trap '' TERM; sleep 347 & ${READY}`));
  await until(async () => (await sleepers()) === 1);
  await fixture.runtime.stop(ref, 100);
  assert.is(await sleepers(), 0);
  assert.is((await fixture.runtime.inspect(ref)).exit, 'signal SIGKILL');
});

s('reports how a program ended: exit, signal, out of memory, removal', async () => {
  await using fixture = await Fixture.make(engine.host, { memory: '16MiB' });
  const { runtime, docker } = fixture;
  const own = specOf('echo last words; exit 7');
  await fixture.create(own);
  await runtime.start(own, own);
  const ends = await Promise.all([1, 2].map(() => runtime.exited(own, never)));
  assert.equal(
    ends.map(({ exit }) => exit),
    ['exit code 7', 'exit code 7'],
  );
  assert.is(await runtime.logs(own, 1), 'last words');
  const killed = await fixture.run(specOf(READY));
  const watching = runtime.exited(killed, never);
  await docker.getContainer(killed.name).kill({ signal: 'SIGKILL' });
  assert.is((await watching).exit, 'signal SIGKILL');
  const removed = await fixture.run(specOf(READY));
  const gone = runtime.exited(removed, never);
  await docker.getContainer(removed.name).remove({ force: true, v: true });
  assert.is((await gone).status === 'running', false);
  await until(async () => (await runtime.inspect(removed)).status === 'absent');
  await expectCode('SCI_PROXY_DIED', runtime.signal(removed, 'SIGHUP'));
  await expectCode('SCI_RUNTIME_FAILED', runtime.putFiles(removed, { a: 'b' }));
  await runtime.stop(removed, 0);
  await runtime.remove(removed);
  assert.ok(!(await readdir(fixture.directory)).includes(removed.name));
  const hungry = specOf('x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done');
  await fixture.create(hungry);
  await runtime.start(hungry, hungry);
  const { exit = '' } = await runtime.exited(hungry, never);
  // The engine knows the reason only if the notice of the kernel has reached it before the end of the program.
  assert.match(exit, /^(signal SIGKILL( \(out of memory\))?|exit code \d+)$/);
});

s('an aborted wait for the end returns', async () => {
  await using fixture = await Fixture.make(engine.host);
  const ref = await fixture.run(specOf(READY));
  const enough = new AbortController();
  const waiting = fixture.runtime.exited(ref, enough.signal);
  enough.abort(new Error('enough'));
  await waiting.then(
    () => assert.unreachable('the wait did not reject'),
    (error: unknown) => assert.match(String(error), /enough/),
  );
});

s('a foreign container of the same name is never touched', async () => {
  await using fixture = await Fixture.make(engine.host);
  const { runtime, docker } = fixture;
  const name = freshName();
  const stranger = await docker.createContainer({ name, Image: IMAGE, Cmd: ['sleep', '1000'] });
  await stranger.start();
  try {
    const before = (await stranger.inspect()).State;
    const spec = specOf(READY, { name });
    const { message } = await expectCode('SCI_CONTAINER_CONFLICT', runtime.create(spec));
    assert.match(message, new RegExp(name));
    assert.is((await runtime.inspect(spec)).status, 'absent');
    await runtime.stop(spec, 0);
    await runtime.remove(spec);
    await expectCode('SCI_PROXY_DIED', runtime.signal(spec, 'SIGKILL'));
    await expectCode('SCI_RUNTIME_FAILED', runtime.exec(spec, ['true'], 5_000));
    assert.equal((await stranger.inspect()).State, before);
    assert.equal(await readdir(fixture.directory), []);
  } finally {
    await stranger.remove({ force: true });
  }
});

s('an instance of another owner or purpose is a conflict', async () => {
  await using fixture = await Fixture.make(engine.host);
  const spec = specOf(READY);
  await fixture.create(spec);
  const others: Record<string, string>[] = [{ [LABELS.serverId]: 'other' }, { [LABELS.specHash]: 'two' }];
  for (const other of others)
    await expectCode(
      'SCI_CONTAINER_CONFLICT',
      fixture.runtime.create({ ...spec, labels: { ...spec.labels, ...other } }),
    );
  assert.is(await readFile(join(fixture.directory, spec.name, 'main.sh'), 'utf8'), READY);
});

s('the error names an image that is missing or not pinned', async () => {
  await using fixture = await Fixture.make(engine.host);
  const missing = specOf(READY, { image: '127.0.0.1:9/no-such-image:1' });
  const { message, suggestions } = await expectCode('SCI_IMAGE_NOT_FOUND', fixture.create(missing));
  assert.match(message, /no-such-image:1/);
  assert.ok(suggestions.includes('Pull it: docker pull 127.0.0.1:9/no-such-image:1'));
  for (const image of ['haproxy', 'haproxy:latest', 'registry:5000/haproxy'])
    await expectCode('SCI_CONFIG_INVALID', fixture.create(specOf(READY, { image })));
  assert.equal(await readdir(fixture.directory), [], 'nothing is left');
});

s('the error names a program that the image lacks before the start', async () => {
  await using fixture = await Fixture.make(engine.host);
  for (const executable of ['no-such-proxy-7', '/bin/no-such-proxy-7']) {
    const spec = specOf(READY, { executable });
    await fixture.create(spec);
    const { message } = await expectCode('SCI_EXECUTABLE_NOT_FOUND', fixture.runtime.start(spec, spec));
    assert.match(message, new RegExp(executable));
    assert.is((await fixture.runtime.inspect(spec)).status, 'created');
  }
});

s.run();
