import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { isIP } from 'node:net';
import { connect } from 'node:tls';
import { throughProxy } from '../../contracts/http-proxy.js';

/** Maximum size of an answer, bytes. */
const MAX_BYTES = 1024 * 1024;

interface FetchOptions {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A `fetch` for requests to an issuer. Unlike that of Node.js, it uses the proxy of the environment, and works with
 * little address space (`ulimit -v`). It follows no redirects.
 * @throws TypeError, as `fetch` does, when the issuer does not answer; the reason of the signal
 */
export async function issuerFetch(url: string, { method, headers, body, signal }: FetchOptions): Promise<Response> {
  try {
    const content = typeof body === 'string' || body instanceof URLSearchParams ? body.toString() : '';
    const response = await answer(new URL(url), { method, headers, ...(signal && { signal }) }, content);
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_BYTES) throw new Error(`the answer has more than ${MAX_BYTES} bytes`);
      chunks.push(chunk);
    }
    return toResponse(response, Buffer.concat(chunks));
  } catch (error) {
    throw signal?.aborted ? signal.reason : new TypeError('fetch failed', { cause: error });
  }
}

async function answer(url: URL, options: RequestOptions, content: string): Promise<IncomingMessage> {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const secure = url.protocol === 'https:';
  const port = Number(url.port || (secure ? 443 : 80));
  const socket = secure ? await throughProxy({ host, port }) : undefined;
  const servername = isIP(host) === 0 ? { servername: host } : {};
  const through = socket && { createConnection: () => connect({ socket, host, ...servername }) };
  return await new Promise((resolve, reject) => {
    const send = secure ? httpsRequest : httpRequest;
    const request = send(url, { ...options, ...through }, resolve).once('error', reject);
    request.end(content);
  });
}

function toResponse({ statusCode: status = 0, headers }: IncomingMessage, body: Buffer): Response {
  const all = Object.entries(headers).flatMap(([name, value]) =>
    [value ?? []].flat().map((one) => [name, one] as const),
  );
  const none = [204, 205, 304].includes(status);
  return new Response(none ? null : new Uint8Array(body), { status, headers: all.map(([name, one]) => [name, one]) });
}
