import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { connectNodeAdapter } from '@connectrpc/connect-node';
import type { Health } from './health.js';

export type Request = IncomingMessage | Http2ServerRequest;
export type Response = ServerResponse | Http2ServerResponse;

type Services = ReturnType<typeof connectNodeAdapter>;

/** Whether a call is to be served; it may have been answered meanwhile. */
export type Decide = (request: Request, response: Response) => Promise<boolean>;

/**
 * Hands a request on to the services, if they can serve already. What host the caller typed is of no use here, and
 * connect-node makes a URL of it and throws when it cannot: a stranger could end the process with it, and IPv6 addresses
 * come without brackets.
 * @param decide Absent: calls cannot be served yet.
 */
export function answer(
  health: Health,
  services: Services,
  decide: Decide | undefined,
  request: Request,
  response: Response,
): void {
  const refuse = (status: number): void => {
    response.statusCode = status;
    response.end();
  };
  request.headers.host = 'localhost';
  if ('stream' in request) request.headers[':authority'] = 'localhost';
  dropTooLate(request.headers);
  try {
    if (health.answer(request, response)) return;
  } catch {
    return refuse(400);
  }
  if (!decide) return refuse(503);
  decide(request, response)
    .then((served) => (served ? services(request, response) : undefined))
    .catch(() => (response.headersSent ? undefined : refuse(400)));
}

/** The longest that a timer of Node.js can hold, ms; one that is longer fires at once, with a warning. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const UNITS_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** Removes a deadline so late that it is none. */
function dropTooLate(headers: Request['headers']): void {
  const [, digits, unit = ''] = /^(\d+)([HMSmun])$/.exec(String(headers['grpc-timeout'])) ?? [];
  if (Number(digits) * (UNITS_MS[unit] ?? 1) > MAX_TIMER_MS) delete headers['grpc-timeout'];
  if (Number(headers['connect-timeout-ms']) > MAX_TIMER_MS) delete headers['connect-timeout-ms'];
}
