import { SciStreamError } from '../contracts/errors.js';
import { weaknessOf } from '../contracts/trust.js';

/**
 * Checks that only this user and root can have written a configuration file that was found in the working directory. The
 * file controls where tokens and data go, and the directory may belong to another user.
 * @param file Absolute.
 * @throws SCI_CONFIG_UNTRUSTED
 */
export function mustBeOwn(file: string): void {
  const weakness = weaknessOf(file);
  if (!weakness) return;
  const message = `${file} in the working directory is ignored: ${weakness.why}.`;
  throw new SciStreamError('SCI_CONFIG_UNTRUSTED', message, {
    suggestions: [`If you trust its author, name it: --config ${file}`, weakness.how],
  });
}
