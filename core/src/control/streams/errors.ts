import { SciStreamError } from '../../contracts/errors.js';
import type { StreamRecord } from '../../contracts/stream.js';

/** Why a `req` ends to which no HELLO came. */
export function helloTimeout(uid: string, ms: number): SciStreamError {
  return new SciStreamError('SCI_HELLO_TIMEOUT', `No HELLO for stream ${uid} arrived within ${ms / 1000} s.`, {
    suggestions: [
      'Send HELLO for the uid from the application controller, or create the stream with: scistream stream up',
    ],
  });
}

/** @param message What cannot be done now. */
export function wrongState(
  { uid, state }: Pick<StreamRecord, 'uid' | 'state'>,
  message: string,
  suggestion: string,
): SciStreamError {
  return new SciStreamError('SCI_STREAM_STATE', `Stream ${uid} is ${state}; ${message} is not possible now.`, {
    suggestions: [suggestion],
  });
}

/** Why a stream ends that somebody wanted to end. */
export const released = (uid: string): SciStreamError =>
  new SciStreamError('SCI_STREAM_RELEASED', `Stream ${uid} was released.`);

/** What to answer to those who want something of a stream that is over. */
export function ended({ uid, state, error }: StreamRecord): SciStreamError {
  return new SciStreamError('SCI_STREAM_STATE', `Stream ${uid} is ${state}${error ? ` (${error.message})` : ''}.`, {
    suggestions: ['Create a new stream.'],
  });
}
