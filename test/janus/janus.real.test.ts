// needs: docker, root
// suite: full
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LABELS, messageOf, type ContainerRef } from '@scistream/core';
import { eventually, expectCode } from '@scistream/core/testing';
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

test('files are replaced, large ones too, and only what differs travels', async (site) => {
  const runtime = site.runtime();
  const large = 'large '.repeat(50_000);
  const spec = site.spec({ files: { 'a.conf': 'first\n', 'key.pem': 'a secret\n' } });
  const ref = await runtime.create(spec);
  await runtime.putFiles(ref, { 'a.conf': 'second\n', 'key.pem': 'a secret\n', large });
  assert.is(
    (await runtime.exec(ref, ['sh', '-c', 'cat a.conf key.pem; wc -c < large'], 5_000)).stdout,
    'second\na secret\n300000\n',
  );
  const later = site.runtime();
  const before = site.emulator.seen.length;
  await later.putFiles(ref, { 'a.conf': 'second\n', 'key.pem': 'a secret\n' });
  assert.equal(site.emulator.seen.slice(before).filter((line) => line === 'POST /exec').length, 1);
  await later.putFiles(ref, { 'a.conf': 'third\n', 'key.pem': 'a secret\n' });
  assert.is((await runtime.exec(ref, ['cat', 'a.conf'], 5_000)).stdout, 'third\n');
  await end(runtime, ref);
});

test('a signal reaches the program, and one that has ended is told apart', async (site) => {
  const runtime = site.runtime();
  const spec = site.spec({ args: ['-c', 'trap "echo got it" USR1; while [ ! -e end ]; do sleep 0.1; done; exit 3'] });
  const ref = await runtime.create(spec);
  await expectCode('SCI_PROXY_DIED', runtime.signal(ref, 'SIGUSR1'));
  await runtime.start(ref, spec);
  await eventually(async () => {
    await runtime.signal(ref, 'SIGUSR1');
    assert.match(await runtime.logs(ref, 5), 'got it');
  });
  const exited = runtime.exited(ref, new AbortController().signal);
  await runtime.putFiles(ref, { end: '' });
  assert.is((await exited).exit, 'exit code 3');
  await expectCode('SCI_PROXY_DIED', runtime.signal(ref, 'SIGUSR1'));
  assert.is((await runtime.inspect(ref)).exit, 'exit code 3');
  await end(runtime, ref);
});

test('a program that does not end when asked is killed after the grace', async (site) => {
  const runtime = site.runtime();
  const spec = site.spec({ args: ['-c', 'trap "" TERM; while :; do sleep 0.1; done'] });
  const ref = await runtime.create(spec);
  await runtime.start(ref, spec);
  const exited = runtime.exited(ref, new AbortController().signal);
  await runtime.stop(ref, 300);
  await exited;
  assert.is((await runtime.inspect(ref)).exit, 'signal SIGKILL');
  await runtime.remove(ref);
});

test('a program that the image lacks is named', async (site) => {
  const runtime = site.runtime();
  const spec = site.spec({ executable: 'no-such-proxy' });
  const ref = await runtime.create(spec);
  await expectCode('SCI_EXECUTABLE_NOT_FOUND', runtime.exec(ref, ['no-such-proxy', '-c'], 5_000));
  await expectCode('SCI_EXECUTABLE_NOT_FOUND', runtime.start(ref, spec));
  await end(runtime, ref);
});

test('waiting for the end of a program ends at once when nobody wants to know any more', async (site) => {
  const runtime = site.runtime();
  const spec = site.spec();
  const ref = await runtime.create(spec);
  await runtime.start(ref, spec);
  const enough = new AbortController();
  const exited = runtime.exited(ref, enough.signal);
  enough.abort(new Error('enough'));
  assert.is(await exited.catch((error: unknown) => messageOf(error)), 'enough');
  await end(runtime, ref);
});

test('a killed container is noticed, and what is left of it goes', async (site) => {
  const runtime = site.runtime();
  const spec = site.spec();
  const ref = await runtime.create(spec);
  await runtime.start(ref, spec);
  const exited = runtime.exited(ref, new AbortController().signal);
  const [container = ''] = await site.emulator.backend.containers();
  await site.emulator.backend.kill(container);
  assert.equal(await exited, { ...ref, status: 'exited', labels: spec.labels, exit: 'its container does not run' });
  await end(runtime, ref);
});

test('streams go to the node with the fewest, stay there, and are counted once', async (site) => {
  const runtime = site.runtime();
  const uids = ['aaaaaaaa-1', 'bbbbbbbb-2', 'cccccccc-3', 'dddddddd-4'];
  const nodes = (await Promise.all(uids.map((uid) => runtime.place(uid)))).map(({ node }) => node);
  assert.equal([...nodes].sort(), ['n1', 'n1', 'n2', 'n2']);
  assert.is((await runtime.place('aaaaaaaa-1')).node, nodes[0]);
  const labels = { [LABELS.owner]: 'test', [LABELS.uid]: 'aaaaaaaa-1' };
  const spec = site.spec({ name: 'scistream-aaaaaaaa-1-0', labels, node: nodes[0] ?? '' });
  const ref = await runtime.create(spec);
  const later = site.runtime();
  assert.is((await later.place('aaaaaaaa-1')).node, nodes[0]);
  assert.is.not((await later.place('eeeeeeee-5')).node, nodes[0]);
  const other = nodes.find((node) => node !== nodes[0]) ?? '';
  const elsewhere = site.runtime({ nodes: [{ name: other, wan: '127.0.0.1', lan: '127.0.0.1' }] });
  assert.is((await elsewhere.place('aaaaaaaa-1')).node, other, 'the other side of the stream is not its own');
  await end(later, ref);
  await expectCode(
    'SCI_RUNTIME_FAILED',
    site.runtime({ nodes: [{ name: 'n9', wan: '127.0.0.1', lan: '127.0.0.1' }] }).place('ffffffff-6'),
  );
});

test('a later runtime finds what an earlier one started, by labels, and takes charge of it', async (site) => {
  const earlier = site.runtime();
  const spec = site.spec();
  const ref = await earlier.create(spec);
  await earlier.start(ref, spec);
  const other = site.spec({ labels: { [LABELS.owner]: 'somebody else' } });
  const otherRef = await earlier.create(other);
  await earlier.close();
  const later = site.runtime();
  assert.equal(await later.list({ [LABELS.owner]: 'test' }), [{ ...ref, status: 'running', labels: spec.labels }]);
  await expectCode('SCI_CONTAINER_CONFLICT', later.create(spec));
  const exited = later.exited(ref, new AbortController().signal);
  await later.stop(ref, 1_000);
  await exited;
  await later.remove(ref);
  await end(later, otherRef);
});

test('nothing of a private key stands in the arguments of anything, and the program inherits none of it', async (site) => {
  const runtime = site.runtime();
  const args = ['-c', 'cat /proc/self/environ | tr "\\0" "\\n" | grep -c SCISTREAM; echo done; sleep 100'];
  const spec = site.spec({ args, files: { 'key.pem': 'a secret\n' } });
  const ref = await runtime.create(spec);
  await runtime.start(ref, spec);
  await eventually(async () => assert.is(await runtime.logs(ref, 2), '0\ndone'));
  await end(runtime, ref);
});

s.run();
