import assert from 'node:assert/strict';
import { LABELS } from '../contracts/container-runtime.js';
import { SciStreamError } from '../contracts/errors.js';
import { expectCode } from './proxy-environment.js';
import type { RuntimeCases } from './runtime-environment.js';
import { eventually } from './support.js';

const NEVER = new AbortController().signal;

/** Creation, end and removal of instances. */
export const instanceCases: RuntimeCases = {
  'create, start, stop and remove work and are idempotent': async (env) => {
    const { runtime } = env;
    await runtime.ping();
    const spec = env.spec();
    const ref = await env.create(spec);
    assert.deepEqual(ref, { name: spec.name });
    const status = async (): Promise<string> => (await runtime.inspect(ref)).status;
    assert.equal(await status(), 'created');
    await runtime.start(ref, spec);
    await env.expectLog(ref, /^ready$/m);
    await runtime.start(ref, spec);
    assert.equal(await status(), 'running');
    assert.equal((await runtime.logs(ref, 100)).split('ready').length, 2, 'it was started once');
    await runtime.stop(ref, 5_000);
    await runtime.stop(ref, 5_000);
    assert.equal(await status(), 'exited');
    await runtime.remove(ref);
    await runtime.remove(ref);
    assert.deepEqual(await runtime.inspect(ref), { ...ref, status: 'absent', labels: {} });
    await runtime.stop(ref, 5_000);
    await env.create(spec);
    assert.equal(await status(), 'created', 'the name can be reused');
  },

  'an instance that never ran can be stopped and removed': async (env) => {
    const ref = await env.create();
    await env.runtime.stop(ref, 5_000);
    await env.runtime.remove(ref);
    assert.equal((await env.runtime.inspect(ref)).status, 'absent');
  },

  'list returns only instances with all labels': async (env) => {
    const [one, two] = [env.spec(), env.spec()];
    const [a, b] = [await env.run(one), await env.create(two)];
    const names = async (labels: Readonly<Record<string, string>>): Promise<string[]> =>
      (await env.runtime.list(labels)).map(({ name }) => name).sort();
    assert.deepEqual(await names(env.label), [a.name, b.name].sort());
    assert.deepEqual(await names({ ...env.label, [LABELS.uid]: one.labels[LABELS.uid] ?? '' }), [a.name]);
    assert.deepEqual(await names({ ...env.label, [LABELS.uid]: 'another' }), []);
    const [found] = await env.runtime.list({ [LABELS.uid]: one.labels[LABELS.uid] ?? '' });
    assert.equal(found?.status, 'running');
    for (const [key, value] of Object.entries(one.labels)) assert.equal(found.labels[key], value);
  },

  'create rejects a name in use and leaves its instance unchanged': async (env) => {
    const spec = env.spec('reads');
    const ref = await env.run(spec);
    await expectCode('SCI_CONTAINER_CONFLICT', env.runtime.create({ ...spec, files: { 'a.cfg': 'changed' } }));
    assert.equal((await env.runtime.inspect(ref)).status, 'running');
    assert.match((await env.runtime.exec(ref, env.shell('complains'), 5_000)).stdout, /^content of a/);
  },

  'the error names a program that does not exist': async (env) => {
    const spec = env.spec('waits', { executable: 'no-such-program-7' });
    const ref = await env.create(spec);
    const started = env.runtime.start(ref, spec);
    await assert.rejects(started, (error) => {
      assert.ok(SciStreamError.is(error), String(error));
      assert.match(error.message, /no-such-program-7/);
      if (!env.runtime.supports.images) assert.equal(error.code, 'SCI_EXECUTABLE_NOT_FOUND');
      return true;
    });
    assert.notEqual((await env.runtime.inspect(ref)).status, 'running');
  },

  'two instances are independent': async (env) => {
    const one = await env.run(env.spec('reads', { files: { 'a.cfg': 'first' } }));
    const two = await env.run(env.spec('reads', { files: { 'a.cfg': 'second' } }));
    assert.match(await env.runtime.logs(one, 10), /^first$/m);
    assert.match(await env.runtime.logs(two, 10), /^second$/m);
    await env.runtime.stop(one, 0);
    await env.runtime.remove(one);
    assert.equal((await env.runtime.inspect(two)).status, 'running');
    assert.match((await env.runtime.exec(two, env.shell('complains'), 5_000)).stdout, /^second/);
  },

  'stop sends the stop signal of the program': async (env) => {
    const ref = await env.run();
    await env.runtime.stop(ref, 20_000);
    const { status, exit } = await env.runtime.inspect(ref);
    assert.equal(status, 'exited');
    assert.match(exit ?? 'exit code 3', /^exit code 3$/);
    assert.match(await env.runtime.logs(ref, 10), /^asked$/m);
  },

  'stop kills the program after the grace period': async (env) => {
    const ref = await env.run(env.spec('stubborn'));
    const begun = performance.now();
    await env.runtime.stop(ref, 1_000);
    // Docker rounds the grace period to whole seconds; a timer may fire slightly early.
    assert.ok(performance.now() - begun >= 990, 'it had the whole grace period');
    assert.equal((await env.runtime.inspect(ref)).status, 'exited');
    assert.match(await env.runtime.logs(ref, 10), /^asked$/m);
  },

  'exited tells every caller how a program ended': async (env) => {
    const spec = env.spec('fails');
    const ref = await env.create(spec);
    await env.runtime.start(ref, spec);
    const watching = [env.runtime, env.open.another()].map((runtime) => runtime.exited(ref, NEVER));
    // A pending `exited` need not keep the process alive, so the test polls as well.
    await eventually(async () => assert.equal((await env.runtime.inspect(ref)).status, 'exited'), 20_000);
    const [own, another] = await Promise.all(watching);
    assert.deepEqual([own?.status, own?.exit], ['exited', 'exit code 7']);
    assert.deepEqual([another?.status, another?.exit ?? 'exit code 7'], ['exited', 'exit code 7']);
    assert.match(await env.runtime.logs(ref, 10), /^out$/m);
    assert.match(await env.runtime.logs(ref, 10), /^err$/m);
  },

  'exited reports that a program was killed': async (env) => {
    const ref = await env.run();
    const watching = env.runtime.exited(ref, NEVER);
    await env.open.kill(ref);
    await eventually(async () => assert.equal((await env.runtime.inspect(ref)).status, 'exited'), 20_000);
    assert.match((await watching).exit ?? '', /^(signal SIGKILL|exit code 137)$/);
  },

  'exited stops waiting when it is aborted': async (env) => {
    const ref = await env.run();
    const enough = new AbortController();
    const waiting = env.runtime.exited(ref, enough.signal);
    enough.abort(new Error('enough'));
    await assert.rejects(waiting, /enough/);
    assert.equal((await env.runtime.inspect(ref)).status, 'running');
  },

  'another object finds, reads, stops and removes a running instance': async (env) => {
    const ref = await env.run();
    const heir = env.open.another();
    const [found] = await heir.list(env.label);
    assert.deepEqual([found?.name, found?.status], [ref.name, 'running']);
    assert.match(await heir.logs(ref, 10), /^ready$/m);
    await heir.stop(ref, 20_000);
    await heir.remove(ref);
    assert.equal((await env.runtime.inspect(ref)).status, 'absent');
  },
};
