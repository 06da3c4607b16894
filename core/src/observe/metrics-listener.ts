import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { formatAddress, isLoopback, type Address } from '../contracts/address.js';
import { messageOf } from '../contracts/errors.js';
import type { Logger } from '../contracts/logger.js';
import { listenOn } from '../serving/listen.js';
import type { Metrics } from './metrics.js';

/** Connections at the same time: a few scrapers. */
const MAX_CONNECTIONS = 32;
/** Maximum time for the head of a request, and of an idle connection, ms. */
const IDLE_MS = 2_000;
/** Interval at which these times are checked, ms. */
const CHECK_MS = 500;

/**
 * Serves `GET /metrics` in plain text, to everyone that reaches the address.
 * @returns Closes the listener and its connections; idempotent
 * @throws SCI_LISTEN_FAILED
 */
export async function serveMetrics(metrics: Metrics, listen: Address, log: Logger): Promise<() => Promise<void>> {
  const times = { headersTimeout: IDLE_MS, requestTimeout: IDLE_MS, keepAliveTimeout: IDLE_MS };
  const options = { ...times, connectionsCheckingInterval: CHECK_MS, maxHeaderSize: 8192 };
  const server = createServer(options, (request, response) => {
    answer(metrics, request, response).catch((error: unknown) => {
      log.warn({ error: messageOf(error) }, 'metrics not collected');
      response.writeHead(503, { 'content-type': 'text/plain' }).end(`${messageOf(error)}\n`);
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listenOn(server, listen, 'Set metrics to a free port on an address of this machine.');
  server.on('error', (error: Error) => log.warn({ error: error.message }, 'connection not accepted'));
  if (!isLoopback(listen.host))
    log.warn({ metrics: formatAddress(listen) }, 'all callers that reach this port can read the metrics');
  return async () => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
}

async function answer(metrics: Metrics, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [path] = (request.url ?? '').split('?');
  if (path !== '/metrics') return void response.writeHead(404).end();
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return void response.writeHead(405, { allow: 'GET' }).end();
  // Before the head, so that a failure can still get another status.
  const text = await metrics.text();
  response.writeHead(200, { 'content-type': metrics.contentType }).end(text);
}
