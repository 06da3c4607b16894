import { ConnectError, createContextKey, type Interceptor } from '@connectrpc/connect';
import { SciStreamError, toSciStreamError, type ErrorCode } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import { formatDuration } from '../contracts/units.js';
import { PUSHBACK_KEY, toConnectError } from '../wire/errors.js';

/** Address of the peer, set by the HTTP server. */
export const PEER = createContextKey('');

/** Faults of this host, which its operator has to know. */
const FAULTS: readonly ErrorCode[] = [
  'SCI_STATE_WRITE',
  'SCI_STATE_DAMAGED',
  'SCI_RUNTIME_FAILED',
  'SCI_LISTENER_ADDRESS',
  'SCI_PORTS_EXHAUSTED',
];

/** SCI_RATE_LIMITED, and the time after which a retry is permitted. */
export class RateLimited extends SciStreamError {
  constructor(
    what: string,
    readonly retryAfterMs: number,
  ) {
    super('SCI_RATE_LIMITED', what, {
      suggestions: [`Try again in ${formatDuration(Math.ceil(retryAfterMs / 1000) * 1000)}.`],
    });
  }
}

/** Converts every error into a gRPC status with our code and suggestions, so that the peer can show them. */
export const errorStatus =
  (log: Logger): Interceptor =>
  (next) =>
  async (request) => {
    const begun = performance.now();
    const fields = { rpc: request.method.name, peer: request.contextValues.get(PEER) };
    const refusal = (thrown: unknown): ConnectError => {
      // Errors of Connect (bad message, unknown method) already have a status.
      if (thrown instanceof ConnectError) return thrown;
      const error = toSciStreamError(thrown);
      if (error.code === 'SCI_BUG') log.error({ ...fields, stack: stackOf(error) }, 'internal error');
      else if (error.code === 'SCI_PLUGIN_FAILED')
        log.error({ ...fields, error: error.message, stack: stackOf(error) }, 'plugin failed');
      else if (error instanceof RateLimited) return later(error);
      else if (FAULTS.includes(error.code))
        log.error({ ...fields, code: error.code, error: error.message }, 'call failed');
      else log.info({ ...fields, code: error.code }, 'call rejected');
      return toConnectError(error);
    };
    try {
      const response = await next(request);
      log.debug({ ...fields, ms: Math.round(performance.now() - begun) }, 'call done');
      return response.stream ? { ...response, message: mapError(response.message, refusal) } : response;
    } catch (thrown) {
      throw refusal(thrown);
    }
  };

/** Adds the wait: in s (RFC 9110 §10.2.3) and in ms (gRPC proposal A6). The rate limiter has logged the rejection. */
function later(error: RateLimited): ConnectError {
  const refusal = toConnectError(error);
  refusal.metadata.set('retry-after', String(Math.ceil(error.retryAfterMs / 1000)));
  refusal.metadata.set(PUSHBACK_KEY, String(error.retryAfterMs));
  return refusal;
}

/** Converts errors of a streaming call, whose handler runs and throws while its messages are read. */
async function* mapError<T>(messages: AsyncIterable<T>, refusal: (thrown: unknown) => Error): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (thrown) {
    throw refusal(thrown);
  }
}

function stackOf(error: SciStreamError): string | undefined {
  return error.cause instanceof Error ? error.cause.stack : error.stack;
}
