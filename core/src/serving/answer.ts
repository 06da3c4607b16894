import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import type { connectNodeAdapter } from '@connectrpc/connect-node';
import type { Health } from './health.js';

export type Request = IncomingMessage | Http2ServerRequest;
export type Response = ServerResponse | Http2ServerResponse;

type Services = ReturnType<typeof connectNodeAdapter>;

/** Decides whether a call is served. If not, the function has answered the call. */
export type Decide = (request: Request, response: Response) => Promise<boolean>;

/**
 * Passes a request to the services. It replaces the host that the caller sent, because connect-node parses it as a URL
 * and throws on an invalid one: any peer could end the process with it, and clients send IPv6 addresses without
 * brackets.
 * @param decide Absent while the daemon cannot serve calls yet.
 */
export function answer(
  health: Health,
  services: Services,
  decide: Decide | undefined,
  request: Request,
  response: Response,
): void {
  const reject = (status: number): void => {
    response.statusCode = status;
    response.end();
  };
  request.headers.host = 'localhost';
  if ('stream' in request) request.headers[':authority'] = 'localhost';
  dropTooLate(request.headers);
  try {
    if (health.answer(request, response)) return;
  } catch {
    return reject(400);
  }
  if (!decide) return reject(503);
  decide(request, response)
    .then((served) => (served ? services(request, response) : undefined))
    .catch(() => (response.headersSent ? undefined : reject(400)));
}

/** Maximum of a Node.js timer, ms. A longer one fires immediately, with a warning. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const UNITS_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** Removes a deadline that exceeds the maximum of a timer. */
function dropTooLate(headers: Request['headers']): void {
  const [, digits, unit = ''] = /^(\d+)([HMSmun])$/.exec(String(headers['grpc-timeout'])) ?? [];
  if (Number(digits) * (UNITS_MS[unit] ?? 1) > MAX_TIMER_MS) delete headers['grpc-timeout'];
  if (Number(headers['connect-timeout-ms']) > MAX_TIMER_MS) delete headers['connect-timeout-ms'];
}

/** Ends a call that is overdue: with HTTP/2 its stream, with HTTP/1.1 its connection. */
export function abort(response: Response): void {
  if ('stream' in response) response.stream.close(constants.NGHTTP2_CANCEL);
  else response.req.socket.destroy();
}
