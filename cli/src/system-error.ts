import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { SciStreamError, systemCode } from '@scistream/core';
import { toSciStreamError } from '@scistream/core/terminal';
import { maximumFiles } from './host-environment.js';

/** Causes that lie on this host, in the words of errno(3), and what to do. */
const CAUSES: Readonly<Record<string, readonly [why: string, how: string]>> = {
  EACCES: ['permission denied', 'Choose another path, or change the permissions.'],
  EPERM: ['operation not permitted', 'Choose another path, or change the permissions.'],
  EROFS: ['the file system is read-only', 'Choose a path on another file system.'],
  ENOSPC: ['no space is left on the device', 'Free space: df -h, df -i'],
  EDQUOT: ['the disk quota is used up', 'Free space: quota -s'],
  EMFILE: [`the limit of ${maximumFiles ?? 'all'} open files is reached`, 'Raise the limit: ulimit -n'],
  ENFILE: ['this host has too many open files', 'Raise fs.file-max: sysctl fs.file-max'],
  ENOENT: ['the file or directory does not exist', 'Create it, or choose another path.'],
  ENOTDIR: ['a part of the path is not a directory', 'Choose another path.'],
  EISDIR: ['it is a directory', 'Choose another path.'],
  ENAMETOOLONG: ['the path is too long', 'Choose a shorter path.'],
  EIO: ['the device reports an input/output error', 'Check the disk or the file server: dmesg'],
  ESTALE: ['the file server no longer knows the file', 'Mount the file system again.'],
  EAGAIN: ['the limit of processes is reached', 'Raise the limit: ulimit -u'],
  ENOMEM: ['too little memory is available', 'Free memory, or raise the limit: ulimit -v'],
};

/** The cause of an error of the operating system in words, if it lies on this host. */
export const causeOf = (error: unknown): string | undefined => CAUSES[systemCode(error) ?? '']?.[0];

/** Variables that move what SciStream stores by default to another place. */
const ELSEWHERE: readonly (readonly [part: RegExp, variable: string])[] = [
  [/\/\.local\/state(\/|$)/, 'XDG_STATE_HOME'],
  [/\/\.local\/share(\/|$)/, 'XDG_DATA_HOME'],
  [/\/\.config(\/|$)/, 'XDG_CONFIG_HOME'],
  [/\/\.cache(\/|$)/, 'XDG_CACHE_HOME'],
];

/**
 * Converts an error of the operating system that no caller has explained, such as a full disk, into SCI_SYSTEM with the
 * path and the reason. Returns undefined for other errors: they are defects.
 */
export function systemError(error: unknown): SciStreamError | undefined {
  const [why, how] = CAUSES[systemCode(error) ?? ''] ?? [];
  if (why === undefined || how === undefined || !isSystemError(error)) return undefined;
  const { syscall, path = '' } = error;
  const where = path === '' ? '' : ` ${path}`;
  return new SciStreamError('SCI_SYSTEM', `Cannot ${OPERATIONS[syscall] ?? syscall}${where}: ${why}.`, {
    cause: error,
    suggestions: [...variablesFor(path), how],
  });
}

/** The error that a command shows for any thrown value. */
export const explained = (error: unknown): SciStreamError => systemError(error) ?? toSciStreamError(error);

/** How to store a file elsewhere that is in a directory of the user by default. */
function variablesFor(path: string): readonly string[] {
  const [, variable] = ELSEWHERE.find(([part]) => part.test(path)) ?? [];
  if (variable !== undefined) return [`Set ${variable} or HOME to a writable directory.`];
  if (path.startsWith(join(tmpdir(), 'scistream-'))) return ['Set TMPDIR to a writable directory.'];
  return path === homedir() ? ['Set HOME to a writable directory.'] : [];
}

const OPERATIONS: Readonly<Record<string, string>> = {
  mkdir: 'create the directory',
  mkdtemp: 'create a directory',
  open: 'open',
  write: 'write',
  rename: 'replace',
  unlink: 'remove',
  scandir: 'read the directory',
  spawn: 'start a program',
};

function isSystemError(error: unknown): error is Error & { readonly syscall: string; readonly path?: string } {
  return error instanceof Error && 'syscall' in error && typeof error.syscall === 'string';
}
