/** Which processes and hosts may use a state directory. */
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { readFile, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { lockState } from '@scistream/core/internal';
import { expectCode, temporaryDirectory } from '@scistream/core/testing';

const s = suite('state lock');

/** Runs `work` with a state directory and the content of a lock that this process would write. */
async function withLock(work: (state: string, lock: Record<string, unknown>) => Promise<void>): Promise<void> {
  const directory = await temporaryDirectory();
  try {
    const unlock = await lockState(directory.path);
    const lock = JSON.parse(await readFile(join(directory.path, 'lock'), 'utf8')) as Record<string, unknown>;
    await unlock(false);
    await work(directory.path, lock);
  } finally {
    await directory.remove();
  }
}

const write = (state: string, lock: object): Promise<void> => writeFile(join(state, 'lock'), JSON.stringify(lock));

/** Pid of a process that has ended. */
async function deadPid(): Promise<number> {
  const child = spawn('true');
  await once(child, 'exit');
  return child.pid ?? 0;
}

s('a directory of another host is never used, whether its daemon runs or has stopped', () =>
  withLock(async (state, lock) => {
    const others = [
      { ...lock, host: 'other' },
      { ...lock, host: 'other', boot: 'b', pid: await deadPid() },
      { host: 'other', boot: 'b' },
    ];
    for (const other of others) {
      await write(state, other);
      const { message } = await expectCode('SCI_STATE_LOCKED', lockState(state));
      assert.match(message, /belongs to host other/);
    }
  }),
);

s('a lock of a dead process, of an earlier boot, or of an earlier version is replaced', () =>
  withLock(async (state, lock) => {
    const { pid, startTime } = lock;
    const dead = await deadPid();
    for (const stale of [{ ...lock, pid: dead }, { ...lock, boot: 'earlier' }, { pid: dead, startTime }, {}]) {
      await write(state, stale);
      await (
        await lockState(state)
      )(false);
    }
    for (const alive of [lock, { pid, startTime }]) {
      await write(state, alive);
      await expectCode('SCI_STATE_LOCKED', lockState(state));
    }
  }),
);

s('a directory with running streams still belongs to its host after the daemon has stopped', () =>
  withLock(async (state) => {
    await (
      await lockState(state)
    )(true);
    const left = JSON.parse(await readFile(join(state, 'lock'), 'utf8')) as Record<string, unknown>;
    assert.equal([left['host'], left['pid']], [hostname(), undefined]);
    await (
      await lockState(state)
    )(false);
    await expectCode(
      'SCI_STATE_LOCKED',
      write(state, { ...left, host: 'other' }).then(() => lockState(state)),
    );
  }),
);

s('a lock of another PID namespace is replaced only if its holder is silent', () =>
  withLock(async (state, lock) => {
    const other = { ...lock, namespace: 'pid:[1]', pid: 1 };
    await write(state, other);
    let beats = 0;
    const beat = setInterval(() => void utimes(join(state, 'lock'), (beats += 1), beats), 100);
    await expectCode('SCI_STATE_LOCKED', lockState(state));
    clearInterval(beat);
    await (
      await lockState(state)
    )(false);
  }),
);

s.run();
