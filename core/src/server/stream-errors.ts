import { SciStreamError } from '../errors.js';
import type { StreamState } from '../stream-store.js';

/** Nobody said HELLO in time. @param ms How long it was waited for. */
export function helloTimeout(uid: string, ms: number): SciStreamError {
  return new SciStreamError('SCI_HELLO_TIMEOUT', `No HELLO for stream ${uid} came in ${ms / 1000} s.`, {
    suggestions: ['Say HELLO for the uid from the application controller, or let scistream stream up do it.'],
  });
}

/** @param message What cannot be done to a stream in that state. */
export function wrongState(
  { uid, state }: { uid: string; state: StreamState },
  message: string,
  suggestion: string,
): SciStreamError {
  return new SciStreamError('SCI_STREAM_STATE', `Stream ${uid} is ${state}; ${message} cannot be done now.`, {
    suggestions: [suggestion],
  });
}
