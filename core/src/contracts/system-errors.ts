import { messageOf, reasonOf, SciStreamError, systemCode } from './errors.js';

/** What to do about a system error of a file. */
const ADVICE: Readonly<Record<string, (path: string) => string>> = {
  ENOSPC: (path) => `Free space, or inodes, on the file system of ${path}: df -h, df -i`,
  EDQUOT: (path) => `Free space in the quota on the file system of ${path}: quota -s`,
  EMFILE: () => 'Raise the limit of open files of the daemon: ulimit -n, or LimitNOFILE of its systemd unit.',
  ENFILE: () => 'Raise the limit of open files of this host: sysctl fs.file-max',
  EACCES: (path) => `Give the user of the daemon access to ${path}: ls -ld`,
  EPERM: (path) => `Give the user of the daemon access to ${path}: ls -ld, lsattr -d`,
  EROFS: (path) => `Mount the file system of ${path} writable, or use another directory: key state, or --state`,
  EIO: (path) => `Check the disk of ${path} and the log of the kernel: dmesg`,
};
/** Errors of calls that the file system does not support. */
const UNSUPPORTED: readonly string[] = ['ENOLCK', 'ENOSYS', 'EOPNOTSUPP', 'ENOTSUP', 'EINVAL'];
const LOCAL = 'Use a directory on a local file system: key state, or --state';

/** Says what to do about a system error of a file or directory. */
export function adviceFor(path: string, error: unknown): string {
  const code = systemCode(error) ?? '';
  if (UNSUPPORTED.includes(code)) return LOCAL;
  return ADVICE[code]?.(path) ?? `Check that the daemon can write to ${path}.`;
}

/** The error as text, without a path: the temporary file of an atomic write is no help to the reader. */
export function systemReason(error: unknown): string {
  return systemCode(error) ? (messageOf(error).split(',')[0] ?? '') : reasonOf(error);
}

/**
 * SCI_STATE_WRITE for a file of the state directory that cannot be used.
 * @param action What failed, such as `write` or `read`.
 */
export function stateError(action: string, path: string, cause: unknown): SciStreamError {
  return new SciStreamError('SCI_STATE_WRITE', `Cannot ${action} ${path}: ${systemReason(cause)}.`, {
    cause,
    suggestions: [adviceFor(path, cause)],
  });
}

/** Runs `work`, and throws its system errors as {@link stateError}. */
export async function onState<T>(action: string, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw SciStreamError.is(error) ? error : stateError(action, path, error);
  }
}
