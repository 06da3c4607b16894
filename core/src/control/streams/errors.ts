import { SciStreamError } from '../../contracts/errors.js';
import type { StreamRecord } from '../../contracts/stream.js';

/** Why a `req` ends to which no HELLO came. */
export function helloTimeout(uid: string, ms: number): SciStreamError {
  return new SciStreamError('SCI_HELLO_TIMEOUT', `No HELLO for stream ${uid} came in ${ms / 1000} s.`, {
    suggestions: ['Say HELLO for the uid from the application controller, or let scistream stream up do it.'],
  });
}

/** @param message What cannot be done now. */
export function wrongState(
  { uid, state }: Pick<StreamRecord, 'uid' | 'state'>,
  message: string,
  suggestion: string,
): SciStreamError {
  return new SciStreamError('SCI_STREAM_STATE', `Stream ${uid} is ${state}; ${message} cannot be done now.`, {
    suggestions: [suggestion],
  });
}

/** Why a stream ends that somebody wanted to end. */
export const released = (uid: string): SciStreamError =>
  new SciStreamError('SCI_STREAM_RELEASED', `Stream ${uid} was released.`);

/** What to answer to those who want something of a stream that is over. */
export function ended({ uid, state, error }: StreamRecord): SciStreamError {
  return new SciStreamError('SCI_STREAM_STATE', `Stream ${uid} is ${state}${error ? ` (${error.message})` : ''}.`, {
    suggestions: ['Make a new stream.'],
  });
}
