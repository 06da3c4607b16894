// needs: docker, root
// suite: full
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger, type ContainerState, type Logger } from '@scistream/core';
import { temporaryDirectory } from '@scistream/core/testing';
import { DockerRuntime, DockersockOptions, socketEndpoint } from '@scistream/plugin-dockersock';
import { engines, type TestEngine } from '../../../test/support/engine.js';
import { Fixture, READY, refusal, specOf, until } from './support.js';

const s = suite('docker runtime while its engine goes and comes');

let engine: TestEngine;
s.before(async () => {
  engine = await engines.startEngine();
});
s.after(async () => {
  await engine.stop();
});

/** Keeps the warnings. */
function listening(): { readonly log: Logger; readonly warnings: string[] } {
  const warnings: string[] = [];
  const log: Logger = { ...silentLogger, warn: (_, message) => void warnings.push(message), child: () => log };
  return { log, warnings };
}

s('a program goes on through a restart with live-restore, and its end is seen afterwards', async () => {
  const { log, warnings } = listening();
  await using fixture = await Fixture.make(engine.host, {}, log);
  await fixture.runtime.ping();
  await fixture.runtime.ping();
  assert.is(warnings.filter((text) => text.includes('live-restore')).length, 1, 'warned once');
  await engine.down();
  await engine.up({ liveRestore: true });
  const ref = await fixture.run(specOf(READY));
  const { pid } = await fixture.runtime.inspect(ref);
  let end: ContainerState | undefined;
  const watching = fixture.runtime.exited(ref, new AbortController().signal).then((state) => (end = state));
  await engine.down('SIGKILL');
  await refusal(fixture.runtime.inspect(ref), 'SCI_RUNTIME_UNREACHABLE');
  await until(() => Promise.resolve(warnings.some((text) => text.includes('does not answer'))));
  assert.is(end, undefined, 'nobody knows whether it runs');
  await engine.up({ liveRestore: true });
  assert.is((await fixture.runtime.inspect(ref)).pid, pid);
  assert.is(end, undefined);
  await fixture.runtime.stop(ref, 5_000);
  assert.is((await watching).status, 'exited');
});

s('a program ends with an engine that has no live-restore, which is told when the engine is back', async () => {
  await using fixture = await Fixture.make(engine.host);
  await engine.down();
  await engine.up();
  const ref = await fixture.run(specOf(READY));
  const watching = fixture.runtime.exited(ref, new AbortController().signal);
  const stopped = new AbortController();
  const another = fixture.runtime.exited(ref, stopped.signal).catch((error: unknown) => String(error));
  await engine.down();
  await refusal(fixture.runtime.ping(), 'SCI_RUNTIME_UNREACHABLE');
  stopped.abort(new Error('enough'));
  await another;
  await engine.up();
  assert.is((await watching).status, 'exited');
});

s(
  'a disk that is full while files are written leaves nothing of a new instance, and the old files of another',
  async () => {
    await using temporary = await temporaryDirectory();
    const small = join(temporary.path, 'small');
    mkdirSync(small);
    assert.is(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', small]).status, 0);
    try {
      const options = DockersockOptions.parse({});
      const find = () => socketEndpoint(engine.host.slice('unix://'.length));
      const runtime = new DockerRuntime({ id: 'dockersock', find, log: silentLogger, dataDir: small }, options);
      const good = specOf(READY);
      await runtime.create(good);
      const big = specOf(READY, { files: { big: 'x'.repeat(200_000) } });
      const { suggestions, message } = await refusal(runtime.create(big), 'SCI_RUNTIME_FAILED');
      assert.match(message, /ENOSPC/);
      assert.match(suggestions.join(), /space/);
      assert.is((await runtime.inspect(big)).status, 'absent');
      await refusal(runtime.putFiles(good, { 'main.sh': 'x'.repeat(200_000) }), 'SCI_RUNTIME_FAILED');
      assert.equal(readdirSync(small), [good.name]);
      assert.equal(readdirSync(join(small, good.name)), ['main.sh']);
      const { stdout } = await runtime.exec(good, ['cat', 'main.sh'], 60_000);
      assert.is(stdout, READY);
      await runtime.remove(good);
    } finally {
      spawnSync('umount', [small]);
    }
  },
);

s.run();
