// needs: podman, root
// suite: full
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LABELS } from '@scistream/core';
import { engines, type TestEngine } from '../../../test/support/engine.js';
import { Fixture, READY, refusal, specOf, until } from './support.js';

const s = suite('dockersock with podman');

let engine: TestEngine;
s.before(async () => {
  engine = await engines.startPodman();
});
s.after(async () => {
  await engine.stop();
});

for (const files of ['bind', 'volume'] as const) {
  s(`${files}: create, check, start, replace files, signal, stop, remove`, async () => {
    await using fixture = await Fixture.make(engine.host, { files });
    const { runtime } = fixture;
    await runtime.ping();
    const script = `trap 'echo hup' HUP; ${READY}`;
    const spec = specOf(script, { files: { 'main.sh': script, 'a.cfg': 'one' } });
    const ref = await fixture.create(spec);
    const check = await runtime.exec(ref, ['sh', '-c', 'cat a.cfg; id -u; exit 3'], 60_000);
    assert.equal([check.exitCode, check.stdout], [3, 'one65534\n']);
    await refusal(runtime.exec(ref, ['no-such-7'], 60_000), 'SCI_EXECUTABLE_NOT_FOUND');
    await runtime.start(ref, spec);
    await until(async () => (await runtime.logs(ref, 5)) === 'ready');
    await runtime.putFiles(ref, { 'a.cfg': 'two' });
    assert.is((await runtime.exec(ref, ['cat', 'a.cfg'], 60_000)).stdout, 'two');
    await runtime.signal(ref, 'SIGHUP');
    await until(async () => /hup/.test(await runtime.logs(ref, 5)));
    assert.is((await runtime.list({ [LABELS.uid]: spec.name })).length, 1);
    await refusal(runtime.create(spec), 'SCI_CONTAINER_CONFLICT');
    const watching = runtime.exited(ref, new AbortController().signal);
    await runtime.stop(ref, 5_000);
    assert.is((await watching).exit, 'signal SIGTERM');
    await runtime.remove(ref);
    assert.equal(await fixture.names(), []);
  });
}

s('reaches a unix socket of the program', async () => {
  await using fixture = await Fixture.make(engine.host);
  const script = `require('node:net').createServer((c) => c.end('hello')).listen('x.sock', () => console.log('ready'));`;
  const ref = await fixture.run(specOf('', { executable: 'node', args: ['m.cjs'], files: { 'm.cjs': script } }));
  let text = '';
  for await (const chunk of await fixture.runtime.dial(ref, 'x.sock')) text += String(chunk);
  assert.is(text, 'hello');
});

s('an image that is not there is named', async () => {
  await using fixture = await Fixture.make(engine.host);
  await refusal(fixture.create(specOf(READY, { image: '127.0.0.1:9/none:1' })), 'SCI_IMAGE_NOT_FOUND');
});

s.run();
