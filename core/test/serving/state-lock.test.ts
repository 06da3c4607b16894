/** Which processes and hosts may use a state directory. */
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
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
      { ...lock, host: 'other', boot: 'b' },
      { ...lock, host: 'other', boot: 'b', pid: await deadPid() },
      { ...lock, host: 'other', namespace: 'pid:[1]' },
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
      write(state, { ...left, host: 'other', boot: 'b' }).then(() => lockState(state)),
    );
  }),
);

for (const [whose, fields] of [
  ['another PID namespace', { namespace: 'pid:[1]', pid: 1 }],
  ['another machine with the same host name', { boot: 'b', pid: 1 }],
] as const) {
  s(`a lock of ${whose} is replaced only if its holder is silent`, () =>
    withLock(async (state, lock) => {
      await write(state, { ...lock, ...fields });
      let beats = 0;
      const beat = setInterval(() => void utimes(join(state, 'lock'), (beats += 1), beats), 100);
      await expectCode('SCI_STATE_LOCKED', lockState(state)).finally(() => clearInterval(beat));
      await (
        await lockState(state)
      )(false);
    }),
  );
}

s('a lock that another process has replaced is left alone', () =>
  withLock(async (state, lock) => {
    for (const keepHost of [false, true]) {
      const unlock = await lockState(state);
      const other = JSON.stringify({ ...lock, host: 'other', boot: 'b' });
      await writeFile(join(state, 'new'), other);
      await rename(join(state, 'new'), join(state, 'lock'));
      await unlock(keepHost);
      assert.is(await readFile(join(state, 'lock'), 'utf8'), other);
      await rm(join(state, 'lock'));
    }
  }),
);

s('a host that was renamed uses its directory, but not that of a running process', () =>
  withLock(async (state, lock) => {
    const { pid: _pid, startTime: _time, ...kept } = lock;
    for (const stale of [{ ...lock, pid: await deadPid() }, kept]) {
      await write(state, { ...stale, host: 'earlier' });
      await (
        await lockState(state)
      )(false);
    }
    await write(state, { ...lock, host: 'earlier' });
    const { message } = await expectCode('SCI_STATE_LOCKED', lockState(state));
    assert.match(message, String(process.pid));
  }),
);

s.run();
