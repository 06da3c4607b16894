/** The process runtime on a machine without free descriptors, and after a daemon was killed. */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger, within } from '@scistream/core';
import { ProcessRuntime } from '@scistream/core/internal';
import { Fixture, READY, REF, refusal, specOf } from '../support/process.js';

const s = suite('process runtime under faults');

/** Opens all descriptors that this process may have except `free`, until the returned function closes them. */
function takeDescriptors(free = 0): () => void {
  const limit = (soft: string): Buffer => execFileSync('prlimit', ['--pid', `${process.pid}`, `--nofile=${soft}:`]);
  // Limits the number to some hundreds on every machine.
  limit('512');
  const taken: number[] = [];
  try {
    for (;;) taken.push(openSync('/dev/null', 'r'));
  } catch {
    for (const fd of taken.splice(0, free)) closeSync(fd);
  }
  return () => {
    for (const fd of taken.splice(0)) closeSync(fd);
    limit('4096');
  };
}

s('a program that cannot be inspected without descriptors has not ended; its end is detected later', async () => {
  await using fixture = await Fixture.make();
  const pid = await fixture.run(READY);
  const heir = new ProcessRuntime({ directory: fixture.directory, log: silentLogger });
  const giveBack = takeDescriptors();
  try {
    // By now the other runtime, whose child it is not, has checked several times.
    await heir.exited(REF, AbortSignal.timeout(1_500)).then(
      () => assert.unreachable('it still runs'),
      (error: unknown) => assert.is((error as Error).name, 'TimeoutError', String(error)),
    );
    await refusal(heir.inspect(REF), 'SCI_RUNTIME_FAILED');
  } finally {
    giveBack();
  }
  assert.equal([(await heir.inspect(REF)).status, (await heir.inspect(REF)).pid], ['running', pid]);
  const exited = heir.exited(REF, new AbortController().signal);
  process.kill(pid, 'SIGKILL');
  assert.is((await exited).status, 'exited');
});

s('a watch that begins without free descriptors works when some are free', async () => {
  await using fixture = await Fixture.make();
  const pid = await fixture.run(READY);
  const heir = new ProcessRuntime({ directory: fixture.directory, log: silentLogger });
  const begun = takeDescriptors();
  const watching = heir.exited(REF, new AbortController().signal);
  await refusal(heir.inspect(REF), 'SCI_RUNTIME_FAILED').finally(begun);
  process.kill(pid, 'SIGKILL');
  assert.is((await watching).status, 'exited');
});

s('every call settles, however few descriptors are free', async () => {
  await using fixture = await Fixture.make();
  await fixture.run(READY);
  const answers: Promise<string>[] = [];
  for (let round = 0; round < 20; round += 1) {
    // With few free descriptors, often the record can be read and the process cannot be inspected.
    const giveBack = takeDescriptors(1 + (round % 4));
    const asked = Array.from({ length: 10 }, () => fixture.runtime.inspect(REF));
    const told = asked.map((state) => state.then(({ status }) => status, String));
    answers.push(...told);
    await Promise.any([...told, new Promise((settle) => setTimeout(settle, 50))]);
    giveBack();
  }
  const all = within(Promise.all(answers), 20_000, () => new Error('some were never answered'));
  for (const answer of await all) assert.match(answer, /^running$|EMFILE/);
});

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

s('create replaces the directory of a daemon that was killed while it created the instance', async () => {
  await using fixture = await Fixture.make();
  await mkdir(fixture.path(), { recursive: true, mode: 0o700 });
  await writeFile(fixture.path('key.pem'), 'secret');
  assert.is((await fixture.runtime.inspect(REF)).status, 'absent');
  await fixture.run(READY);
  assert.equal((await readdir(fixture.path())).sort(), ['.instance.json', 'log', 'main.cjs']);
});

s('a directory with a running process is not abandoned', async () => {
  await using fixture = await Fixture.make();
  const pid = await fixture.run(READY);
  try {
    await rm(fixture.path('.instance.json'));
    await refusal(fixture.runtime.create(specOf(READY)), 'SCI_CONTAINER_CONFLICT');
    await refusal(
      new ProcessRuntime({ directory: fixture.directory, log: silentLogger }).create(specOf(READY)),
      'SCI_CONTAINER_CONFLICT',
    );
    assert.ok((await readdir(fixture.path())).includes('main.cjs'));
  } finally {
    // Fails if the process has ended before.
    process.kill(pid, 'SIGKILL');
  }
});

s('the first use removes abandoned directories and nothing else', async () => {
  await using fixture = await Fixture.make();
  const [left, whole] = ['scistream-aaaaaaaa-0123abcd-0', 'scistream-bbbbbbbb-0123abcd-1'];
  await fixture.runtime.create(specOf(READY, { name: whole }));
  for (const name of [left, 'notes-of-the-operator']) {
    await mkdir(join(fixture.directory, name));
    await writeFile(join(fixture.directory, name, 'key.pem'), 'secret');
  }
  await new ProcessRuntime({ directory: fixture.directory, log: silentLogger }).ping();
  assert.equal((await readdir(fixture.directory)).sort(), ['notes-of-the-operator', whole]);
});

s('an instance keeps its record until its other files are removed', async () => {
  await using fixture = await Fixture.make();
  const files = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`key${i}.pem`, 'secret']));
  await fixture.runtime.create(specOf(READY, { files }));
  const left: string[][] = [];
  const removed = fixture.runtime.remove(REF).then(() => true);
  // Synchronous: an asynchronous read would queue behind the removals in the thread pool.
  for (let done = false; !done; done = await Promise.race([removed, nextTurn(false)]))
    left.push(namesIn(fixture.path()));
  const partly = left.filter(({ length }) => length > 0 && length < 501);
  assert.ok(partly.length > 0);
  for (const names of partly) assert.ok(names.includes('.instance.json'), `without a record: ${names.join()}`);
});

s.run();
