import { createContextKey, type Interceptor } from '@connectrpc/connect';
import { SciStreamError } from '../../contracts/errors.js';
import type { Verdict } from './admission.js';
import { CALLER } from './services.js';

/** The verdict about a call, reached before its message was read. */
export const VERDICT = createContextKey<Verdict | undefined>(undefined);

/** Rejects calls that were not admitted. */
export const authentication: Interceptor = (next) => async (request) => {
  const verdict = request.contextValues.get(VERDICT);
  if (!verdict) throw new SciStreamError('SCI_BUG', 'A call has no verdict.');
  if ('error' in verdict) throw verdict.error;
  request.contextValues.set(CALLER, verdict);
  return await next(request);
};
