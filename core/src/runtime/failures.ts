import { S2DSException, systemCode } from '../contracts/errors.js';
import { adviceFor, systemReason } from '../contracts/system-errors.js';

/**
 * SCI_RUNTIME_FAILED.
 * @param message A sentence without its full stop.
 * @param path The file or directory that the failed call used, for the advice.
 */
export function failed(message: string, cause?: unknown, path = 'the state directory'): S2DSException {
  const why = cause === undefined ? '' : `: ${systemReason(cause)}`;
  const suggestions = [systemCode(cause) === undefined ? 'See the log of the daemon.' : adviceFor(path, cause)];
  return new S2DSException('SCI_RUNTIME_FAILED', `${message}${why}.`, { cause, suggestions });
}

/** The error for a program that cannot be run: SCI_EXECUTABLE_NOT_FOUND or SCI_RUNTIME_FAILED. */
export function executableError(executable: string, error: unknown): S2DSException {
  if (systemCode(error) !== 'ENOENT') return failed(`Cannot run ${executable}`, error);
  return new S2DSException('SCI_EXECUTABLE_NOT_FOUND', `The program ${executable} is not installed on this gateway.`, {
    cause: error,
    suggestions: [
      `Install it, for example: apt-get install ${executable}`,
      'Or use --proxy relay, which needs no other program.',
    ],
  });
}
