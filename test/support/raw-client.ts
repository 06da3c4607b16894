/** Raw calls to a server, as none of our clients makes them. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { connect, type ClientHttp2Session, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2';
import { buffer } from 'node:stream/consumers';
import * as assert from 'uvu/assert';
import { ERROR_CODES } from '@scistream/core/internal';

/** Headers of a call in JSON. */
export const JSON_CALL = { 'content-type': 'application/json', 'connect-protocol-version': '1' };

/** The answer to a call. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** One connection, for several calls at a time. */
export class RawClient {
  private constructor(private readonly session: ClientHttp2Session) {}

  static async open(url: string, options: Parameters<typeof connect>[1] = {}): Promise<RawClient> {
    const session = connect(url, { rejectUnauthorized: false, ...options });
    await once(session, 'connect');
    // Calls report their own result. Without a listener, the end of a connection would end the process.
    session.on('error', () => undefined);
    return new RawClient(session);
  }

  /** @param path `scistream.Control/req` @param headers `content-type` and others */
  async call(path: string, headers: OutgoingHttpHeaders, body: Uint8Array | string): Promise<Answer> {
    const stream = this.session.request({ ':method': 'POST', ':path': `/${path}`, ...headers });
    let trailers: IncomingHttpHeaders = {};
    stream.on('trailers', (found: IncomingHttpHeaders) => void (trailers = found));
    stream.end(body);
    const [found] = (await once(stream, 'response')) as [IncomingHttpHeaders & { ':status'?: number }];
    const content = await buffer(stream);
    // Trailers arrive after the body.
    return { status: found[':status'] ?? 0, headers: found, trailers, body: content };
  }

  close(): void {
    this.session.destroy();
  }
}

/** Checks that a server answers nonsense with a result or a rejection, and not with an internal error. */
export function mustBeAnswered({ status, headers, trailers, body }: Answer): void {
  const text = body.toString('latin1');
  const code = headers['trailer-scistream-code'] ?? headers['scistream-code'] ?? trailers['scistream-code'];
  if (typeof code === 'string') assert.ok(Object.hasOwn(ERROR_CODES, code), code);
  assert.is.not(code, 'SCI_BUG', text);
  if (code !== undefined) return;
  // Connect rejects these itself. It reports bytes that are no message as an internal error (13, 500).
  const told = decodeURIComponent(String(trailers['grpc-message'] ?? headers['grpc-message']));
  const nonsense = /parse (binary|JSON)|protocol error|compress|envelope|premature/i.test(`${text} ${told}`);
  const grpc = headers['grpc-status'] ?? trailers['grpc-status'];
  assert.ok(nonsense || grpc === undefined || !['2', '13'].includes(String(grpc)), `status ${String(grpc)}: ${text}`);
  assert.ok(nonsense || status < 500 || status === 501, `${status}: ${text}`);
}

/** Resolves when the other side has closed the connection. */
export const ended = (socket: Socket): Promise<unknown> =>
  // Not with `once`, which ignores resets.
  new Promise(
    (resolve) =>
      void socket
        .on('error', () => undefined)
        .once('close', resolve)
        .resume(),
  );
