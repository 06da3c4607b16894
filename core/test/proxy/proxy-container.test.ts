/** The base class of all proxies: order of the hooks, rollback and restarts. In memory. */
import { S2DSException, type ContainerState } from '@scistream/core';
import { eventually, expectCode } from '@scistream/core/testing';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  A,
  B,
  Fixture,
  REFUSED,
  Reloading,
  Retargetable,
  UNUSABLE,
  type FaultyRuntime,
} from '../support/tiny-proxy.js';

const s = suite('proxy container');

s('start creates the files and closes the socket before it starts the program', async () => {
  const it = new Fixture(Reloading);
  await it.proxy.start(it.request);
  assert.equal(it.happened(), ['bind', 'create', 'close', 'start tiny', 'close']);
  assert.equal(await it.log(), ['serves nowhere']);
  await it.proxy.release(it.request.uid);
  assert.equal(it.happened(), ['stop', 'remove']);
});

s('a program that ends during its start reports what the checker says about its file', async () => {
  const it = new Fixture(Reloading);
  it.begin = (self) => self.exit(1);
  it.refuses = 'nowhere';
  await expectCode('SCI_PROXY_CONFIG_INVALID', it.proxy.start(it.request));
  assert.equal(it.happened().slice(-3), ['exec tiny tiny.cfg', 'stop', 'remove']);
  it.refuses = REFUSED.host;
  await expectCode('SCI_PROXY_NOT_READY', it.proxy.start(it.request));
  assert.equal(await it.runtime.list({}), []);
});

s('an aborted start is not checked', async () => {
  const it = new Fixture(Reloading);
  const abort = new AbortController();
  it.begin = () => abort.abort(new Error('aborted by the caller'));
  const error = await it.proxy.start(it.request, abort.signal).catch((reason: unknown) => reason);
  assert.is(error, abort.signal.reason);
  assert.equal(it.happened(), ['bind', 'create', 'close', 'start tiny', 'stop', 'remove']);
  assert.equal(await it.runtime.list({}), []);
});

s('an update checks the new file beside the current one, then replaces it and reloads', async () => {
  const it = new Fixture(Reloading);
  await it.start();
  await it.update(B);
  const expected = ['put tiny.cfg.next', 'exec tiny tiny.cfg.next', 'put tiny.cfg', 'signal SIGHUP'];
  assert.equal(it.happened(), expected);
  assert.is((await it.log()).at(-1), 'follows 192.0.2.2:2');
});

s('an update that the checker rejects does not change the current file', async () => {
  const it = new Fixture(Reloading);
  await it.start();
  await expectCode('SCI_PROXY_CONFIG_INVALID', it.update(REFUSED));
  const [first, second, ...rest] = it.happened();
  assert.equal([first, second], ['put tiny.cfg.next', 'exec tiny tiny.cfg.next']);
  // The rollback applies the previous targets again.
  assert.equal(rest, ['put tiny.cfg.next', 'exec tiny tiny.cfg.next', 'put tiny.cfg', 'signal SIGHUP']);
  assert.is((await it.log()).at(-1), 'follows 192.0.2.1:1');
  assert.is((await it.proxy.status(it.request.uid)).state, 'running');
});

s('a retargetable proxy receives new targets and files without a reload', async () => {
  const it = new Fixture(Retargetable);
  await it.start();
  await it.update(B);
  assert.equal(it.happened(), ['put tiny.cfg']);
  assert.equal(it.proxy.targetsSeen, [[A], [B]]);
  assert.equal(await it.log(), ['serves nowhere']);
});

s('a retargetable proxy that returns false reloads its files', async () => {
  const it = new Fixture(Retargetable);
  await it.start();
  it.proxy.retargets = false;
  await it.update(B);
  assert.is(it.happened().at(-1), 'signal SIGHUP');
  assert.is((await it.log()).at(-1), 'follows 192.0.2.2:2');
});

s('an update without a change does nothing, and the next one with a change is applied', async () => {
  const it = new Fixture(Reloading);
  await it.start();
  await it.update(B);
  it.happened();
  await it.update(B);
  assert.equal(it.happened(), []);
  await it.update(A);
  assert.is(it.happened().at(-1), 'signal SIGHUP');
});

s('an update is applied although nothing changed if the last rollback failed', async () => {
  const it = new Fixture(Reloading);
  await it.start();
  const signal = it.runtime.signal.bind(it.runtime);
  it.runtime.signal = () => Promise.reject(new Error('out of reach'));
  await it.update(B).catch(() => undefined);
  it.runtime.signal = signal;
  it.happened();
  await it.update(A);
  assert.is(it.happened().at(-1), 'signal SIGHUP');
});

s('an update that the running proxy does not admit changes nothing', async () => {
  class Full extends Reloading {
    protected override admit(): Promise<void> {
      return Promise.reject(new S2DSException('SCI_LIMIT_REACHED', 'too many old workers'));
    }
  }
  const it = new Fixture(Full);
  await it.proxy.start(it.request);
  it.happened();
  await expectCode('SCI_LIMIT_REACHED', it.update(B));
  assert.equal(it.happened(), []);
});

s('a proxy that rejects new targets gets the previous targets again', async () => {
  const it = new Fixture(Retargetable);
  await it.start();
  let refusal: unknown;
  await it.update(UNUSABLE).catch((error: unknown) => (refusal = error));
  assert.match(String(refusal), /target rejected/);
  assert.equal(it.proxy.targetsSeen, [[A], [A]]);
});

s('a failed start leaves no instance', async () => {
  const refused = new Fixture(Reloading);
  const uid = refused.request.uid;
  refused.begin = (self) => self.exit(1);
  await expectCode('SCI_PROXY_NOT_READY', refused.proxy.start(refused.request));
  await expectCode('SCI_STREAM_NOT_FOUND', refused.proxy.status(uid));
  assert.equal(await refused.runtime.list({}), []);

  const aborted = new Fixture(Reloading);
  const abort = new AbortController();
  aborted.begin = () => abort.abort(new Error('enough'));
  let reason: unknown;
  await aborted.proxy.start(aborted.request, abort.signal).catch((error: unknown) => (reason = error));
  assert.match(String(reason), /enough/);
  assert.equal(await aborted.runtime.list({}), []);
});

s('a program that ends unexpectedly is restarted with its current targets', async () => {
  const it = new Fixture(Retargetable);
  await it.start();
  await it.update(B);
  it.happened();
  await it.kill();
  await eventually(async () => assert.is((await it.proxy.status(it.request.uid)).restarts, 1));
  const expected = ['stop', 'remove', 'bind', 'create', 'close', 'start tiny', 'close'];
  assert.equal(it.happened(), expected);
  assert.equal(await it.log(), ['serves 192.0.2.2:2']);
});

const MISTAKES: Readonly<Record<string, (runtime: FaultyRuntime) => Promise<ContainerState>>> = {
  'reports an error': () => Promise.reject(new Error('too many open files')),
  'reports its end too early': async (runtime) => await runtime.inspect((await runtime.list({}))[0] ?? { name: '' }),
};
for (const [what, mistake] of Object.entries(MISTAKES)) {
  s(`a running program whose runtime ${what} is not restarted, and still watched`, async () => {
    const it = new Fixture(Retargetable);
    // The first call comes from the wait for readiness.
    it.runtime.faults = [undefined, mistake];
    await it.start();
    await eventually(() => assert.is(it.runtime.faults.length, 0));
    const { state, restarts } = await it.proxy.status(it.request.uid);
    assert.equal([state, restarts, it.happened()], ['running', 0, []]);
    for (const instance of await it.runtime.list({})) it.runtime.kill(instance);
    await eventually(async () => assert.is((await it.proxy.status(it.request.uid)).restarts, 1));
  });
}

s('pauses grow with each death, and the sixth death in a minute fails the stream', async () => {
  const it = new Fixture(Retargetable);
  await it.start();
  const ended = it.proxy.ended(it.request.uid);
  const pauses: number[] = [];
  for (let restarts = 1; restarts <= 5; restarts += 1) {
    const since = performance.now();
    await it.kill();
    await eventually(async () => assert.is((await it.proxy.status(it.request.uid)).restarts, restarts), 10_000);
    pauses.push(performance.now() - since);
  }
  // Lower limits only: a busy machine takes longer.
  [0, 190, 390, 790, 1_590].forEach((least, i) => assert.ok((pauses[i] ?? 0) >= least, `pause ${i}: ${pauses[i]} ms`));
  await it.kill();
  assert.is((await ended)?.code, 'SCI_PROXY_DIED');
  assert.match(
    (await ended)?.message ?? '',
    /signal SIGKILL[^]*serves 192\.0\.2\.1:1/,
    'contains the exit and the last output',
  );
  const { state, restarts } = await it.proxy.status(it.request.uid);
  assert.equal([state, restarts], ['failed', 5]);
  await expectCode('SCI_PROXY_DIED', it.update(B));
  await it.proxy.release(it.request.uid);
  assert.equal(await it.runtime.list({}), []);
});

s('a change of the system time does not affect the count of deaths', async () => {
  const { now } = Date;
  let ahead = 0;
  Date.now = () => now() + (ahead += 3_600_000);
  try {
    const it = new Fixture(Retargetable);
    await it.start();
    it.begin = (self) => self.exit(1);
    for (const instance of await it.runtime.list({})) it.runtime.kill(instance);
    await eventually(async () => assert.is((await it.proxy.status(it.request.uid)).state, 'failed'));
  } finally {
    Date.now = now;
  }
});

for (const code of ['SCI_RUNTIME_UNREACHABLE', 'SCI_RUNTIME_FAILED'] as const)
  s(`a restart that fails with ${code} is retried without limit and does not count as a death`, async () => {
    const it = new Fixture(Retargetable);
    const { uid } = it.request;
    await it.start();
    it.runtime.failure = new S2DSException(code, 'The engine does not answer.');
    for (const instance of await it.runtime.list({})) it.runtime.kill(instance);
    const failures = (): number => it.runtime.calls.filter((call) => call === 'fail').length;
    await eventually(() => assert.ok(failures() >= 1));
    // Other calls do not wait for the engine.
    await it.update(B);
    // More failures than deaths that would fail the stream.
    await eventually(() => assert.ok(failures() >= 6));
    const { state, restarts, error } = await it.proxy.status(uid);
    assert.equal([state, restarts, error?.code], ['restarting', 0, code]);
    it.runtime.failure = undefined;
    await eventually(async () => assert.is((await it.proxy.status(uid)).restarts, 1));
    assert.is((await it.proxy.status(uid)).state, 'running');
    assert.equal(await it.log(), ['serves 192.0.2.2:2']);
    await it.kill();
    await eventually(async () => assert.is((await it.proxy.status(uid)).restarts, 2));
    await it.proxy.release(uid);
  });

s('a release ends the wait for an unreachable runtime', async () => {
  const it = new Fixture(Retargetable);
  await it.start();
  it.runtime.failure = new S2DSException('SCI_RUNTIME_UNREACHABLE', 'The engine does not answer.');
  for (const instance of await it.runtime.list({})) it.runtime.kill(instance);
  await eventually(() => assert.ok(it.runtime.calls.includes('fail')));
  await it.proxy.release(it.request.uid);
  assert.equal(await it.runtime.list({}), []);
  await expectCode('SCI_STREAM_NOT_FOUND', it.proxy.status(it.request.uid));
});

s('a program that ends during each restart fails the stream', async () => {
  const it = new Fixture(Retargetable);
  await it.start();
  it.begin = (self) => self.exit(1);
  for (const instance of await it.runtime.list({})) it.runtime.kill(instance);
  const error = await it.proxy.ended(it.request.uid);
  assert.is(error?.code, 'SCI_PROXY_DIED');
  assert.match(error?.message ?? '', /cannot be restarted: tiny exited during startup \(exit code 1\)/);
});

s('a release ends the pause before a restart', async () => {
  const it = new Fixture(Retargetable);
  await it.start();
  it.begin = (self) => self.exit(1);
  for (const instance of await it.runtime.list({})) it.runtime.kill(instance);
  await eventually(async () => assert.is((await it.proxy.status(it.request.uid)).state, 'restarting'));
  await it.proxy.release(it.request.uid);
  assert.equal(await it.runtime.list({}), []);
  await expectCode('SCI_STREAM_NOT_FOUND', it.proxy.status(it.request.uid));
});

s('a release during the start ends the stream', async () => {
  const it = new Fixture(Retargetable);
  const { uid } = it.request;
  await Promise.all([it.proxy.start(it.request), it.proxy.release(uid)]);
  // A later call for the same uid waits until the release is complete.
  await expectCode('SCI_STREAM_NOT_FOUND', it.update(A));
  assert.equal(it.happened().slice(-2), ['stop', 'remove']);
  assert.equal(await it.runtime.list({}), []);
});

s.run();
