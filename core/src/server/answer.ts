import type { connectNodeAdapter } from '@connectrpc/connect-node';
import { dropTooLate, type Request, type Response } from './admission.js';
import type { Health } from './health.js';

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
