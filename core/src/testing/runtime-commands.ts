import assert from 'node:assert/strict';
import { RangePortAllocator } from '../gateway/ports.js';
import type { RuntimeCases } from './runtime-environment.js';
import { eventually } from './support.js';

const EXEC_MS = 20_000;
const BIG_BYTES = 65_536;

/** Files, commands, signals and sockets of instances. */
export const commandCases: RuntimeCases = {
  'files exist before the program starts and are private': async (env) => {
    const ref = await env.create(env.spec('reads'));
    const { stdout } = await env.runtime.exec(ref, env.shell('lists'), EXEC_MS);
    assert.match(stdout, /^-rw-------/);
    await env.runtime.start(ref, env.spec('reads', { name: ref.name }));
    await env.expectLog(ref, /^content of a$/m);
  },

  'files are added and replaced': async (env) => {
    const ref = await env.run();
    await env.runtime.putFiles(ref, { 'a.cfg': 'new', 'b.cfg': 'added' });
    const { stdout } = await env.runtime.exec(ref, env.shell('complains'), EXEC_MS);
    assert.equal(stdout, 'new');
    assert.match((await env.runtime.exec(ref, env.shell('lists'), EXEC_MS)).stdout, /^-rw-------/);
  },

  'files are replaced atomically': async (env) => {
    const big = (letter: string): Record<string, string> => ({ 'big.cfg': letter.repeat(BIG_BYTES) });
    const ref = await env.run(env.spec('watches', { files: big('a'), stopSignal: 'SIGTERM' }));
    for (const letter of 'bcdefghijklmnopqrstu') await env.runtime.putFiles(ref, big(letter));
    assert.doesNotMatch(await env.runtime.logs(ref, 100), /torn/);
    assert.equal((await env.runtime.inspect(ref)).status, 'running');
  },

  'file and instance names that leave the directory are rejected': async (env) => {
    const ref = await env.create();
    for (const name of ['../a.cfg', 'a/b', '/a.cfg', '..', '']) {
      await assert.rejects(env.runtime.putFiles(ref, { [name]: 'x' }), Error, `file ${name}`);
      await assert.rejects(env.runtime.create(env.spec('waits', { name })), Error, `instance ${name}`);
    }
  },

  'commands run before and beside the program and return their result': async (env) => {
    const spec = env.spec();
    const ref = await env.create(spec);
    const expected = { exitCode: 5, stdout: 'content of a', stderr: 'bad\n' };
    assert.deepEqual(await env.runtime.exec(ref, env.shell('complains'), EXEC_MS), expected);
    await env.runtime.start(ref, spec);
    await env.expectLog(ref, /^ready$/m);
    assert.deepEqual(await env.runtime.exec(ref, env.shell('complains'), EXEC_MS), expected);
  },

  'a command that does not exist fails': async (env) => {
    const ref = await env.create();
    const failed = await env.runtime.exec(ref, ['no-such-program-7'], EXEC_MS).then(
      ({ exitCode }) => exitCode !== 0,
      () => true,
    );
    assert.ok(failed);
  },

  'a command that does not end is aborted, and the program keeps running': async (env) => {
    const ref = await env.run();
    const begun = performance.now();
    await assert.rejects(env.runtime.exec(ref, env.shell('sleeps'), 500));
    assert.ok(performance.now() - begun < 20_000, 'it was aborted in time');
    assert.equal((await env.runtime.inspect(ref)).status, 'running');
  },

  'logs returns the last lines': async (env) => {
    const ref = await env.run(env.spec('counts'));
    assert.deepEqual((await env.runtime.logs(ref, 3)).trimEnd().split('\n'), ['line 49', 'line 50', 'ready']);
  },

  'a signal reaches the program while it runs': async (env) => {
    const ref = await env.run();
    await env.runtime.signal(ref, 'SIGUSR2');
    await env.expectLog(ref, /^told$/m);
    assert.equal((await env.runtime.inspect(ref)).status, 'running');
    await env.runtime.stop(ref, 20_000);
    await assert.rejects(env.runtime.signal(ref, 'SIGUSR2'));
  },

  'dial reaches unix sockets of the program with supports.dial': async (env) => {
    if (!env.runtime.supports.dial) {
      const ref = await env.run();
      await assert.rejects(env.runtime.dial(ref, 'x.sock'));
      return;
    }
    const spec = env.server();
    const ref = await env.create(spec);
    await env.runtime.start(ref, spec);
    await eventually(async () => {
      let heard = '';
      for await (const chunk of await env.runtime.dial(ref, 'x.sock')) heard += String(chunk);
      assert.equal(heard, 'hello');
    }, 20_000);
    await assert.rejects(env.runtime.dial(ref, 'y.sock'), { code: 'ENOENT' });
  },

  'the program inherits listening sockets only with supports.inheritSockets': async (env) => {
    const allocator = new RangePortAllocator({ first: 10_000, last: 29_999 });
    const [held] = await allocator.allocate({ uid: 'u', host: '127.0.0.1', transport: 'tcp', count: 1 });
    try {
      const { inheritSockets } = env.runtime.supports;
      const ref = await env.run(env.spec('inherits', { sockets: inheritSockets ? [held?.fd ?? -1] : [] }));
      assert.equal(/^inherited$/m.test(await env.runtime.logs(ref, 10)), inheritSockets);
    } finally {
      await allocator.release('u');
    }
  },
};
