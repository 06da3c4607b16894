import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { messageOf, quote, systemCode, type Logger } from '@scistream/core';
import { authorizationOf } from './credentials.js';
import { failed, JanusRefusal, unreachable } from './failures.js';
import type { JanusOptions } from './options.js';

/** Janus runs with a few threads; more requests wait here. */
const MAX_CONNECTIONS = 8;
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/** What is asked for. */
export interface JanusRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Below the base path, each part encoded, with a query if need be. */
  readonly path: string;
  readonly body?: unknown;
  /** Instead of the option `timeout`, ms. */
  readonly timeoutMs?: number;
  /** Instead of the option `retries`. */
  readonly retries?: number;
  readonly signal?: AbortSignal;
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

/**
 * Talks to the controller: HTTPS with a server that has proven who it is before anything is sent, credentials read for
 * every request (so they can be replaced at any time), a deadline for each try, and further tries where they can help.
 */
export class JanusConnection {
  readonly #options: JanusOptions;
  readonly #log: Logger;
  readonly #agent: Agent;

  constructor(options: JanusOptions, log: Logger) {
    this.#options = options;
    this.#log = log;
    this.#agent = new VerifyingAgent(options);
  }

  close(): void {
    this.#agent.destroy();
  }

  /**
   * Sends a request, again after 5xx, broken connections and silence; so it must be one that may be carried out twice.
   * @returns the JSON of the answer, undefined for 204
   * @throws JanusRefusal for 4xx (but 401, 403) and lasting 5xx; S2DSException SCI_RUNTIME_UNREACHABLE, SCI_RUNTIME_FAILED
   */
  async call(request: JanusRequest): Promise<unknown> {
    const { retries = this.#options.retries, signal } = request;
    for (let attempt = 0; ; attempt += 1) {
      signal?.throwIfAborted();
      try {
        return this.#read(request, await this.#send(request));
      } catch (error) {
        signal?.throwIfAborted();
        if (attempt >= retries || !mayPass(error)) throw this.#explain(error);
        this.#log.debug({ path: request.path, attempt, error: messageOf(error) }, 'janus is asked again');
        await sleep(this.#pause(attempt), undefined, { signal });
      }
    }
  }

  #pause(attempt: number): number {
    const { backOff, maxBackOff } = this.#options;
    return Math.min(maxBackOff, backOff * 2 ** attempt) * (0.5 + Math.random() / 2);
  }

  async #send({ method, path, body, timeoutMs = this.#options.timeout, signal }: JanusRequest): Promise<Answer> {
    const url = new URL(this.#options.url + path);
    const { user, group } = this.#options;
    if (user !== undefined) url.searchParams.set('user', user);
    if (group !== undefined) url.searchParams.set('group', group);
    const text = body === undefined ? undefined : JSON.stringify(body);
    const authorization = await authorizationOf(this.#options);
    const headers = {
      accept: 'application/json',
      ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
      ...(authorization === undefined ? {} : { authorization }),
    };
    // By hand: AbortSignal.any would leave something behind in a signal that lives as long as a stream, at every call.
    const stop = new AbortController();
    const late = setTimeout(() => stop.abort(new Silence(timeoutMs)), timeoutMs);
    const abort = (): void => stop.abort(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await this.#exchange(url, { method, headers, agent: this.#agent, signal: stop.signal }, text);
    } catch (error) {
      throw stop.signal.aborted ? stop.signal.reason : error;
    } finally {
      clearTimeout(late);
      signal?.removeEventListener('abort', abort);
    }
  }

  #exchange(url: URL, options: RequestOptions, text: string | undefined): Promise<Answer> {
    return new Promise<Answer>((resolve, reject) => {
      const sent = httpsRequest(url, options, (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > MAX_ANSWER_BYTES) response.destroy(failed(`Janus answers with too much`, 'Check the url.'));
          chunks.push(chunk);
        });
        response.once('error', reject);
        response.once('aborted', () => reject(new Broken('the connection broke in the middle of an answer')));
        response.once('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
        );
      });
      sent.once('error', reject);
      sent.end(text);
    });
  }

  #read({ method, path }: JanusRequest, { status, text }: Answer): unknown {
    const { url } = this.#options;
    if (status === 401 || status === 403) {
      throw unreachable(url, `it does not accept the credentials (${status})`, 'Check auth in runtimes.janus.');
    }
    if (status >= 400) throw new JanusRefusal(status, detailOf(text), `${method} ${path}`);
    if (status === 204) return undefined;
    if (status !== 200 && status !== 201) {
      throw failed(`Janus answered ${method} ${path} with status ${status}`, 'Check the url: is it the controller?');
    }
    try {
      return JSON.parse(text) as unknown;
    } catch {
      throw failed(
        `Janus answered ${method} ${path} with something that is not JSON: ${quote(text)}`,
        'Check the url: is it the controller, or something in front of it?',
      );
    }
  }

  #explain(error: unknown): unknown {
    const code = systemCode(error) ?? '';
    const { url } = this.#options;
    if (error instanceof Silence) return unreachable(url, error.message, 'Is it overloaded? See timeout.', error);
    if (isUntrusted(error)) {
      const pin = 'Trust its CA with ca, or this one certificate with fingerprint, in runtimes.janus.';
      return unreachable(url, `its certificate is not trusted: ${messageOf(error)}`, pin, error);
    }
    if (/^ERR_SSL|^EPROTO/.test(code)) return unreachable(url, 'it does not speak TLS', 'Check the port.', error);
    if (isNetwork(error)) return unreachable(url, messageOf(error), 'Check that the controller runs there.', error);
    return error;
  }
}

/** No answer in time. */
class Silence extends Error {
  constructor(timeoutMs: number) {
    super(`no answer in ${timeoutMs} ms`);
  }
}

/** The connection ended too early. */
class Broken extends Error {
  readonly code = 'ECONNRESET';
}

/** Not the certificate that was pinned. */
class NotPinned extends Error {
  readonly code = 'CERT_NOT_PINNED';
}

const isUntrusted = (error: unknown): boolean => /CERT|ISSUER|CRL|LEAF/.test(systemCode(error) ?? '');

const isNetwork = (error: unknown): boolean => /^E(?!RR_)[A-Z_]+$/.test(systemCode(error) ?? '') && !isUntrusted(error);

const mayPass = (error: unknown): boolean => {
  if (error instanceof JanusRefusal) return error.status >= 500 && !isGone(error);
  return error instanceof Silence || (isNetwork(error) && !/^EPROTO/.test(systemCode(error) ?? ''));
};

/** Whether a refusal says that the container does not run, in the words of Docker and Kubernetes; it never will again. */
export function isGone(error: unknown): boolean {
  return (
    error instanceof JanusRefusal &&
    /not running|no such container|container not found|stopped container|is restarting/i.test(error.detail)
  );
}

/** `{"error": …}`, `{"message": …}`, a string, or whatever it is. */
function detailOf(text: string): string {
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value === 'string') return quoteLong(value);
    if (typeof value === 'object' && value !== null) {
      const { error, message } = value as { error?: unknown; message?: unknown };
      return quoteLong(error ?? message ?? value);
    }
  } catch {
    // Not JSON, so it is shown as it came.
  }
  return quoteLong(text);
}

function quoteLong(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const line = text.replace(/[\s\p{Cc}]+/gu, ' ').trim();
  return line.length > 300 ? `${line.slice(0, 299)}…` : line;
}

/** Hands out connections only once the server has proven who it is: nothing is sent before, no credentials either. */
class VerifyingAgent extends Agent {
  readonly #pin: string | undefined;
  readonly #options: JanusOptions;

  constructor(options: JanusOptions) {
    super({ keepAlive: true, maxSockets: MAX_CONNECTIONS });
    this.#pin = options.fingerprint;
    this.#options = options;
  }

  override createConnection(
    options: RequestOptions,
    done: (error: Error | null, socket: Duplex) => void = () => undefined,
  ): undefined {
    // IPv6 comes in the brackets of the URL.
    const host = (options.host ?? '').replace(/^\[(.*)\]$/, '$1');
    const socket = connect({
      host,
      port: Number(options.port ?? 443),
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...this.#authority(),
      minVersion: 'TLSv1.2',
      rejectUnauthorized: this.#pin === undefined,
    });
    const { timeout } = this.#options;
    const timer = setTimeout(() => socket.destroy(new Silence(timeout)), timeout);
    const fail = (error: Error): void => done(error, socket);
    socket.once('close', () => clearTimeout(timer));
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.off('error', fail);
      const seen = `sha256:${createHash('sha256').update(socket.getPeerCertificate().raw).digest('hex')}`;
      if (this.#pin === undefined || seen === this.#pin) return done(null, socket);
      socket.destroy();
      done(new NotPinned(`it shows ${seen}, not the expected ${this.#pin}`), socket);
    });
    return undefined;
  }

  /** Read for every connection, so that the file can be replaced at any time. */
  #authority(): { ca?: Buffer } {
    const { ca, url } = this.#options;
    if (ca === undefined) return {};
    try {
      return { ca: readFileSync(ca) };
    } catch (error) {
      const why = `the CA file ${ca} cannot be read (${systemCode(error) ?? messageOf(error)})`;
      throw unreachable(url, why, 'Check ca in runtimes.janus.', error);
    }
  }
}
