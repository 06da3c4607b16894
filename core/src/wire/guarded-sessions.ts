import type { ClientHttp2Stream } from 'node:http2';
import { Http2SessionManager } from '@connectrpc/connect-node';

/**
 * A session manager whose sessions cannot end the process. The library drops a destroyed session before the session
 * emits its error, for example the TLS alert of a peer that rejects our certificate. Without a listener, Node.js treats
 * that error as uncaught. The calls on the session receive the error anyway.
 */
export class GuardedSessions extends Http2SessionManager {
  readonly #known = new WeakSet<object>();

  override async request(...args: Parameters<Http2SessionManager['request']>): Promise<ClientHttp2Stream> {
    const stream = await super.request(...args);
    const { session } = stream;
    if (session && !this.#known.has(session)) this.#known.add(session.on('error', () => undefined));
    return stream;
  }
}
