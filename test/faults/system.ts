/** System resources that a fault needs. Each restores itself. */
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemCode } from '@scistream/core';
import { temporaryDirectory } from '@scistream/core/testing';

const execute = promisify(execFile);

/** A separate small disk (tmpfs). Needs root. */
export async function smallDisk(size: string) {
  const directory = await temporaryDirectory();
  const path = join(directory.path, 'disk');
  await mkdir(path, { mode: 0o700 });
  await execute('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=700`, 'none', path]);
  const ballast = join(path, 'ballast');
  const block = Buffer.alloc(4096);
  return {
    path,
    /** Fills the free space. */
    async fill(): Promise<void> {
      for (;;) {
        try {
          await writeFile(ballast, block, { flag: 'a' });
        } catch (error) {
          if (systemCode(error) === 'ENOSPC') return;
          throw error;
        }
      }
    },
    free: () => rm(ballast, { force: true }),
    async [Symbol.asyncDispose](): Promise<void> {
      await execute('umount', ['-l', path]);
      await directory.remove();
    },
  };
}

/**
 * A directory that is read-only for programs that start with this prefix while it is locked. It uses a separate mount
 * namespace, because the kernel cannot lock a mount with files open for writing. Needs root.
 */
export async function lockable() {
  const directory = await temporaryDirectory();
  const [path, locked] = [join(directory.path, 'inside'), join(directory.path, 'locked')];
  await mkdir(path, { mode: 0o700 });
  const bind = `mount --bind ${path} ${path} && mount -o remount,bind,ro ${path}`;
  const script = `if [ -e ${locked} ]; then ${bind} || exit; fi; exec "$@"`;
  return {
    path,
    prefix: ['unshare', '--mount', 'sh', '-c', script, 'sh'],
    lock: () => writeFile(locked, ''),
    unlock: () => rm(locked, { force: true }),
    [Symbol.asyncDispose]: () => directory.remove(),
  };
}

/** Number of open file descriptors of a process. */
export const descriptors = async (pid: number): Promise<number> => (await readdir(`/proc/${pid}/fd`)).length;

/** Sets the soft limit of file descriptors of a process. */
export async function limitDescriptors(pid: number, most: number): Promise<void> {
  await execute('prlimit', ['--pid', String(pid), `--nofile=${most}:`]);
}

/** @returns The soft limit. */
export async function descriptorLimit(pid: number): Promise<number> {
  const limits = await readFile(`/proc/${pid}/limits`, 'utf8');
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1]);
}
