/** What the base class of all proxies makes of their hooks: order, roll back, restarts. In memory. */
import { S2DSException, type ContainerState } from '@scistream/core';
import { eventually, expectCode } from '@scistream/core/testing';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { A, B, Fixture, REFUSED, Rereading, Told, UNLOVED, type Mistaken } from './support/tiny-proxy.js';

const s = suite('proxy container');

s('start makes the files, checks them, lets the port go, and only then runs the program', async () => {
  const it = new Fixture(Rereading);
  await it.proxy.start(it.request);
  assert.equal(it.happened(), ['create', 'exec tiny tiny.cfg', 'letGo', 'start tiny', 'letGo']);
  assert.equal(await it.log(), ['serves nowhere']);
  await it.proxy.release(it.request.uid);
  assert.equal(it.happened(), ['stop', 'remove']);
});

s('an update checks the new file beside the old one before it replaces it and reloads', async () => {
  const it = new Fixture(Rereading);
  await it.start();
  await it.update(B);
  const expected = ['put tiny.cfg.next', 'exec tiny tiny.cfg.next', 'put tiny.cfg', 'signal SIGHUP'];
  assert.equal(it.happened(), expected);
  assert.is((await it.log()).at(-1), 'follows 192.0.2.2:2');
});

s('an update that the checker refuses never reaches the file that is in use', async () => {
  const it = new Fixture(Rereading);
  await it.start();
  await expectCode('SCI_PROXY_CONFIG_INVALID', it.update(REFUSED));
  const [first, second, ...rest] = it.happened();
  assert.equal([first, second], ['put tiny.cfg.next', 'exec tiny tiny.cfg.next']);
  // The old targets are put in force again, whatever had been done of the new ones.
  assert.equal(rest, ['put tiny.cfg.next', 'exec tiny tiny.cfg.next', 'put tiny.cfg', 'signal SIGHUP']);
  assert.is((await it.log()).at(-1), 'follows 192.0.2.1:1');
  assert.is((await it.proxy.status(it.request.uid)).state, 'running');
});

s('a proxy that can be told is told, its files follow, and nothing is reloaded', async () => {
  const it = new Fixture(Told);
  await it.start();
  await it.update(B);
  assert.equal(it.happened(), ['put tiny.cfg']);
  assert.equal(it.proxy.told, [[A], [B]]);
  assert.equal(await it.log(), ['serves nowhere']);
});

s('a proxy that cannot be told after all reads its files again', async () => {
  const it = new Fixture(Told);
  await it.start();
  it.proxy.canBeTold = false;
  await it.update(B);
  assert.is(it.happened().at(-1), 'signal SIGHUP');
  assert.is((await it.log()).at(-1), 'follows 192.0.2.2:2');
});

s('a proxy that refuses what it is told is told the old targets again', async () => {
  const it = new Fixture(Told);
  await it.start();
  let refusal: unknown;
  await it.update(UNLOVED).catch((error: unknown) => (refusal = error));
  assert.match(String(refusal), /it will not have it/);
  assert.equal(it.proxy.told, [[A], [A]]);
});

s('a start that fails at any step leaves nothing', async () => {
  const refused = new Fixture(Rereading);
  const uid = refused.request.uid;
  refused.begin = (self) => self.exit(1);
  await expectCode('SCI_PROXY_NOT_READY', refused.proxy.start(refused.request));
  await expectCode('SCI_STREAM_NOT_FOUND', refused.proxy.status(uid));
  assert.equal(await refused.runtime.list({}), []);

  const aborted = new Fixture(Rereading);
  const abort = new AbortController();
  aborted.begin = () => abort.abort(new Error('enough'));
  let reason: unknown;
  await aborted.proxy.start(aborted.request, abort.signal).catch((error: unknown) => (reason = error));
  assert.match(String(reason), /enough/);
  assert.equal(await aborted.runtime.list({}), []);
});

s('a program that ends by itself is checked and started again with its present targets', async () => {
  const it = new Fixture(Told);
  await it.start();
  await it.update(B);
  it.happened();
  await it.kill();
  await eventually(async () => assert.is((await it.proxy.status(it.request.uid)).restarts, 1));
  const expected = ['stop', 'remove', 'create', 'exec tiny tiny.cfg', 'letGo', 'start tiny', 'letGo'];
  assert.equal(it.happened(), expected);
  assert.equal(await it.log(), ['serves 192.0.2.2:2']);
});

const MISTAKES: Readonly<Record<string, (runtime: Mistaken) => Promise<ContainerState>>> = {
  'cannot tell how it is': () => Promise.reject(new Error('too many open files')),
  'says too early that it has ended': async (runtime) =>
    await runtime.inspect((await runtime.list({}))[0] ?? { name: '' }),
};
for (const [what, mistake] of Object.entries(MISTAKES)) {
  s(`a program whose runtime ${what} is left alone, and watched on`, async () => {
    const it = new Fixture(Told);
    // The first to ask is who waits until it is ready.
    it.runtime.mistakes = [undefined, mistake];
    await it.start();
    await eventually(() => assert.is(it.runtime.mistakes.length, 0));
    const { state, restarts } = await it.proxy.status(it.request.uid);
    assert.equal([state, restarts, it.happened()], ['running', 0, []]);
    for (const instance of await it.runtime.list({})) it.runtime.kill(instance);
    await eventually(async () => assert.is((await it.proxy.status(it.request.uid)).restarts, 1));
  });
}

s('pauses grow from death to death, and the sixth in a minute is the last', async () => {
  const it = new Fixture(Told);
  await it.start();
  const ended = it.proxy.ended(it.request.uid);
  const pauses: number[] = [];
  for (let restarts = 1; restarts <= 5; restarts += 1) {
    const since = performance.now();
    await it.kill();
    await eventually(async () => assert.is((await it.proxy.status(it.request.uid)).restarts, restarts), 10_000);
    pauses.push(performance.now() - since);
  }
  // Lower limits only: how much longer it takes is for the machine to say.
  [0, 190, 390, 790, 1_590].forEach((least, i) => assert.ok((pauses[i] ?? 0) >= least, `pause ${i}: ${pauses[i]} ms`));
  await it.kill();
  assert.is((await ended)?.code, 'SCI_PROXY_DIED');
  assert.match((await ended)?.message ?? '', /signal SIGKILL[^]*serves 192\.0\.2\.1:1/, 'says how and its last words');
  const { state, restarts } = await it.proxy.status(it.request.uid);
  assert.equal([state, restarts], ['failed', 5]);
  await expectCode('SCI_PROXY_DIED', it.update(B));
  await it.proxy.release(it.request.uid);
  assert.equal(await it.runtime.list({}), []);
});

s('deaths are counted by a clock that nobody sets', async () => {
  const { now } = Date;
  let ahead = 0;
  Date.now = () => now() + (ahead += 3_600_000);
  try {
    const it = new Fixture(Told);
    await it.start();
    it.begin = (self) => self.exit(1);
    for (const instance of await it.runtime.list({})) it.runtime.kill(instance);
    await eventually(async () => assert.is((await it.proxy.status(it.request.uid)).state, 'failed'));
  } finally {
    Date.now = now;
  }
});

for (const code of ['SCI_RUNTIME_UNREACHABLE', 'SCI_RUNTIME_FAILED'] as const)
  s(`what fails with ${code} is no death of the program, and is tried until it works`, async () => {
    const it = new Fixture(Told);
    const { uid } = it.request;
    await it.start();
    it.runtime.failure = new S2DSException(code, 'The engine does not answer.');
    for (const instance of await it.runtime.list({})) it.runtime.kill(instance);
    const failures = (): number => it.runtime.calls.filter((call) => call === 'fail').length;
    await eventually(() => assert.ok(failures() >= 1));
    // Nobody waits for the engine who wants something else.
    await it.update(B);
    // As often as a program that ends by itself would be given up.
    await eventually(() => assert.ok(failures() >= 6));
    const { state, restarts, error } = await it.proxy.status(uid);
    assert.equal([state, restarts, error], ['restarting', 0, undefined]);
    it.runtime.failure = undefined;
    await eventually(async () => assert.is((await it.proxy.status(uid)).restarts, 1));
    assert.is((await it.proxy.status(uid)).state, 'running');
    assert.equal(await it.log(), ['serves 192.0.2.2:2']);
    await it.kill();
    await eventually(async () => assert.is((await it.proxy.status(uid)).restarts, 2));
    await it.proxy.release(uid);
  });

s('a release ends the wait for a runtime that is away', async () => {
  const it = new Fixture(Told);
  await it.start();
  it.runtime.failure = new S2DSException('SCI_RUNTIME_UNREACHABLE', 'The engine does not answer.');
  for (const instance of await it.runtime.list({})) it.runtime.kill(instance);
  await eventually(() => assert.ok(it.runtime.calls.includes('fail')));
  await it.proxy.release(it.request.uid);
  assert.equal(await it.runtime.list({}), []);
  await expectCode('SCI_STREAM_NOT_FOUND', it.proxy.status(it.request.uid));
});

s('a program that ends while it is started again and again is given up', async () => {
  const it = new Fixture(Told);
  await it.start();
  it.begin = (self) => self.exit(1);
  for (const instance of await it.runtime.list({})) it.runtime.kill(instance);
  const error = await it.proxy.ended(it.request.uid);
  assert.is(error?.code, 'SCI_PROXY_DIED');
  assert.match(error?.message ?? '', /cannot be restarted: tiny exited during startup \(exit code 1\)/);
});

s('a release ends the wait for the next start', async () => {
  const it = new Fixture(Told);
  await it.start();
  it.begin = (self) => self.exit(1);
  for (const instance of await it.runtime.list({})) it.runtime.kill(instance);
  await eventually(async () => assert.is((await it.proxy.status(it.request.uid)).state, 'restarting'));
  await it.proxy.release(it.request.uid);
  assert.equal(await it.runtime.list({}), []);
  await expectCode('SCI_STREAM_NOT_FOUND', it.proxy.status(it.request.uid));
});

s('a release that comes during the start ends the stream for good', async () => {
  const it = new Fixture(Told);
  const { uid } = it.request;
  await Promise.all([it.proxy.start(it.request), it.proxy.release(uid)]);
  // What comes after it for the same uid waits for all that the release has left behind.
  await expectCode('SCI_STREAM_NOT_FOUND', it.update(A));
  assert.equal(it.happened().slice(-2), ['stop', 'remove']);
  assert.equal(await it.runtime.list({}), []);
});

s.run();
