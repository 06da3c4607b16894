/** Raw calls of a server, as no client of ours would make them. */
import { once } from 'node:events';
import { connect, type ClientHttp2Session, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2';
import { buffer } from 'node:stream/consumers';
import * as assert from 'uvu/assert';
import { ERROR_CODES } from '@scistream/core';

/** What came back. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** One connection; several calls may be made on it at a time. */
export class RawClient {
  private constructor(private readonly session: ClientHttp2Session) {}

  static async open(url: string, options: Parameters<typeof connect>[1] = {}): Promise<RawClient> {
    const session = connect(url, { rejectUnauthorized: false, ...options });
    await once(session, 'connect');
    // Calls tell what became of them; without a listener the end of a connection would end the process.
    session.on('error', () => undefined);
    return new RawClient(session);
  }

  /** @param path `scistream.Control/req` @param headers `content-type` and what else there is */
  async call(path: string, headers: OutgoingHttpHeaders, body: Uint8Array | string): Promise<Answer> {
    const stream = this.session.request({ ':method': 'POST', ':path': `/${path}`, ...headers });
    let trailers: IncomingHttpHeaders = {};
    stream.on('trailers', (found: IncomingHttpHeaders) => void (trailers = found));
    stream.end(body);
    const [found] = (await once(stream, 'response')) as [IncomingHttpHeaders & { ':status'?: number }];
    const content = await buffer(stream);
    // Not before the body, after which they come.
    return { status: found[':status'] ?? 0, headers: found, trailers, body: content };
  }

  close(): void {
    this.session.destroy();
  }
}

/** Whether an answer is what a server says to nonsense: a result, or a refusal that is no defect. */
export function mustBeAnswered({ status, headers, trailers, body }: Answer): void {
  const text = body.toString('latin1');
  const code = headers['trailer-scistream-code'] ?? headers['scistream-code'] ?? trailers['scistream-code'];
  if (typeof code === 'string') assert.ok(Object.hasOwn(ERROR_CODES, code), code);
  assert.is.not(code, 'SCI_BUG', text);
  if (code !== undefined) return;
  // What Connect itself refuses; for it bytes that are no message are an internal error (13, 500), which others are not.
  const told = decodeURIComponent(String(trailers['grpc-message'] ?? headers['grpc-message']));
  const nonsense = /parse (binary|JSON)|protocol error|compress|envelope|premature/i.test(`${text} ${told}`);
  const grpc = headers['grpc-status'] ?? trailers['grpc-status'];
  assert.ok(nonsense || grpc === undefined || !['2', '13'].includes(String(grpc)), `status ${String(grpc)}: ${text}`);
  assert.ok(nonsense || status < 500 || status === 501, `${status}: ${text}`);
}
