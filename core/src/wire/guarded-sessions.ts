import { constants, type ClientHttp2Stream } from 'node:http2';
import { Http2SessionManager } from '@connectrpc/connect-node';

/**
 * A session manager whose sessions cannot end the process. The library drops a destroyed session before the session
 * emits its error, for example the TLS alert of a peer that rejects our certificate. Without a listener, Node.js treats
 * that error as uncaught. The calls on the session receive the error anyway. Every call settles when its connection closes.
 */
export class GuardedSessions extends Http2SessionManager {
  readonly #known = new WeakSet<object>();

  override async request(...args: Parameters<Http2SessionManager['request']>): Promise<ClientHttp2Stream> {
    const stream = await super.request(...args);
    const { session } = stream;
    if (session && !this.#known.has(session)) this.#known.add(session.on('error', () => undefined));
    failUnanswered(stream);
    return stream;
  }
}

/**
 * Fails a call whose connection closes before the answer. If the server says goodbye (GOAWAY with NO_ERROR) first, Node.js
 * closes the stream without an error, and the library would wait for the answer forever.
 */
function failUnanswered(stream: ClientHttp2Stream): void {
  let answered = false;
  stream.once('response', () => (answered = true));
  stream.once('close', () => {
    if (answered || stream.rstCode !== constants.NGHTTP2_NO_ERROR) return;
    stream.emit('error', Object.assign(new Error('The connection was closed.'), { code: 'ECONNRESET' }));
  });
}
