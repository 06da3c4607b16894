import { ConnectError, createContextKey, type Interceptor } from '@connectrpc/connect';
import type { Authenticator } from '../authenticator.js';
import { toSciStreamError, type SciStreamError } from '../errors.js';
import type { Logger } from '../logger.js';
import { toConnectError } from '../rpc/errors.js';
import { CERTIFICATE } from './client-certificates.js';
import { IDENTITY } from './services.js';

/** Address of the peer, set by the HTTP server. */
export const PEER = createContextKey('');

/** Longest token that is looked at; HTTP/2 limits the header list anyway. */
const MAX_TOKEN = 16 * 1024;

/** Finds out who is calling before the handler sees anything of the message. */
export const authentication =
  (authenticator: Authenticator): Interceptor =>
  (next) =>
  async (request) => {
    const token = (request.header.get('authorization') ?? '').slice(0, MAX_TOKEN).replace(/^Bearer(\s+|$)/i, '');
    const peer = request.contextValues.get(PEER);
    const certificate = request.contextValues.get(CERTIFICATE);
    const credentials = { token, peer, ...(certificate && { certificate }) };
    const identity = await authenticator.authenticate(credentials, request.signal);
    request.contextValues.set(IDENTITY, { ...identity, peer });
    return await next(request);
  };

/** Turns every error into a gRPC status that carries our code, so that the other side can show the same suggestions. */
export const errorStatus =
  (log: Logger): Interceptor =>
  (next) =>
  async (request) => {
    const begun = performance.now();
    const fields = { rpc: request.method.name, peer: request.contextValues.get(PEER) };
    const refusal = (thrown: unknown): ConnectError => {
      // Connect's own errors (bad message, unknown method) have their status already.
      if (thrown instanceof ConnectError) return thrown;
      const error = toSciStreamError(thrown);
      if (error.code === 'SCI_BUG') log.error({ ...fields, stack: stackOf(error) }, 'defect');
      else log.info({ ...fields, code: error.code }, 'call refused');
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

/** The handler of a streaming call runs, and throws, while its messages are read. */
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
