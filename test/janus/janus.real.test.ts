// needs: docker, root
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LABELS, type ContainerRef } from '@scistream/core';
import { eventually } from '@scistream/core/testing';
import type { JanusRuntime } from '@scistream/plugin-janus';
import { withSite } from './support.js';

const s = suite('janus');
const test = withSite(s, s);

async function end(runtime: JanusRuntime, ref: ContainerRef): Promise<void> {
  await runtime.stop(ref, 2_000);
  await runtime.remove(ref);
}

test('an instance is created, started, stopped and removed', async (site) => {
  const runtime = site.runtime();
  await runtime.ping();
  const spec = site.spec();
  const ref = await runtime.create(spec);
  assert.is((await runtime.inspect(ref)).status, 'created');
  assert.equal((await runtime.inspect(ref)).labels, spec.labels);
  await runtime.start(ref, spec);
  assert.is((await runtime.inspect(ref)).status, 'running');
  await eventually(async () => assert.is(await runtime.logs(ref, 5), 'it runs in /tmp/scistream'));
  const exited = runtime.exited(ref, new AbortController().signal);
  await runtime.stop(ref, 2_000);
  assert.is((await exited).status, 'exited');
  await runtime.stop(ref, 2_000);
  await runtime.remove(ref);
  await runtime.remove(ref);
  assert.is((await runtime.inspect(ref)).status, 'absent');
});

test('commands run before and beside the program, in its directory, and tell how they ended', async (site) => {
  const runtime = site.runtime();
  const spec = site.spec({ files: { 'a.conf': 'first\n', b: 'ü\n'.repeat(60_000) } });
  const ref = await runtime.create(spec);
  const both = { exitCode: 4, stdout: 'first\n', stderr: 'no\n' };
  assert.equal(await runtime.exec(ref, ['sh', '-c', 'cat a.conf; echo no >&2; exit 4'], 5_000), both);
  await runtime.start(ref, spec);
  const { stdout } = await runtime.exec(ref, ['sh', '-c', 'wc -c < b; stat -c %a a.conf . | tr "\\n" " "'], 5_000);
  assert.match(stdout, /^180000\n600 700 $/);
  await end(runtime, ref);
});

s.run();
