import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect } from 'node:tls';
import { backOff, formatDuration, messageOf, quote, retry, systemCode, type Logger } from '@scistream/core';
import { authorizationOf } from './credentials.js';
import { failed, JanusRefusal, unreachable } from './failures.js';
import type { JanusOptions } from './options.js';

/** Limit of concurrent connections. Janus has only a few worker threads; further requests wait here. */
const MAX_CONNECTIONS = 8;
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

const CHECK_URL = 'Check that url is the address of the controller.';

/** One request to the controller. */
export interface JanusRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Path below the base path, with encoded segments and an optional query. */
  readonly path: string;
  readonly body?: unknown;
  /** Overrides the option `timeout`, ms. */
  readonly timeoutMs?: number;
  /** Overrides the option `retries`. */
  readonly retries?: number;
  readonly signal?: AbortSignal;
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

/**
 * Sends requests to the controller over HTTPS. The certificate is verified before anything is sent. Credentials are
 * read for every request, so they can be rotated at any time. Each attempt has a deadline, and transient failures are
 * retried.
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
   * Sends a request and retries it after 5xx, a broken connection or a timeout. The request must therefore be
   * idempotent.
   * @returns the JSON of the answer, undefined for 204
   * @throws JanusRefusal for 4xx (except 401 and 403) and persistent 5xx; S2DSException SCI_RUNTIME_UNREACHABLE,
   * SCI_RUNTIME_FAILED
   */
  async call(request: JanusRequest): Promise<unknown> {
    const { retries = this.#options.retries, signal } = request;
    const pauseMs = (error: unknown, failures: number): number | undefined => {
      if (failures > retries || !isTransient(error)) return undefined;
      this.#log.debug({ path: request.path, failures, error: messageOf(error) }, 'retrying janus request');
      return backOff(failures, this.#options.backOff, this.#options.maxBackOff) * (0.5 + Math.random() / 2);
    };
    try {
      return await retry(async () => this.#read(request, await this.#send(request)), { pauseMs, signal });
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#explain(error);
    }
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
    // AbortSignal.any would leak a listener per call on a signal that lives as long as a stream.
    const stop = new AbortController();
    const late = setTimeout(() => stop.abort(new RequestTimeout(timeoutMs)), timeoutMs);
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
          if (size > MAX_ANSWER_BYTES)
            response.destroy(failed(`Janus answers with more than ${MAX_ANSWER_BYTES} bytes`, CHECK_URL));
          chunks.push(chunk);
        });
        response.once('error', reject);
        response.once('aborted', () =>
          reject(new ConnectionLost('the connection broke while the answer was received')),
        );
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
      throw unreachable(url, `it rejects the credentials (${status})`, 'Check auth in runtimes.janus.');
    }
    if (status >= 400) throw new JanusRefusal(status, detailOf(text), `${method} ${path}`);
    if (status === 204) return undefined;
    if (status !== 200 && status !== 201) {
      throw failed(`Janus answered ${method} ${path} with status ${status}`, CHECK_URL);
    }
    try {
      return JSON.parse(text) as unknown;
    } catch {
      throw failed(`Janus answered ${method} ${path} with text that is not JSON: ${quote(text)}`, CHECK_URL);
    }
  }

  #explain(error: unknown): unknown {
    const code = systemCode(error) ?? '';
    const { url } = this.#options;
    if (error instanceof RequestTimeout)
      return unreachable(url, error.message, 'Check its load, or raise timeout in runtimes.janus.', error);
    if (isUntrusted(error)) {
      const pin = 'Set ca to its CA, or fingerprint to this certificate, in runtimes.janus.';
      return unreachable(url, `its certificate is not trusted: ${messageOf(error)}`, pin, error);
    }
    if (/^ERR_SSL|^EPROTO/.test(code)) return unreachable(url, 'it does not speak TLS', 'Check the port.', error);
    if (isNetwork(error)) return unreachable(url, messageOf(error), 'Check that the controller runs there.', error);
    return error;
  }
}

/** The request or the handshake exceeded its deadline. */
class RequestTimeout extends Error {
  constructor(timeoutMs: number) {
    super(`no answer in ${formatDuration(timeoutMs)}`);
  }
}

/** The connection ended before the answer was complete. */
class ConnectionLost extends Error {
  readonly code = 'ECONNRESET';
}

/** The certificate is not the pinned one. */
class NotPinned extends Error {
  readonly code = 'CERT_NOT_PINNED';
}

const isUntrusted = (error: unknown): boolean => /CERT|ISSUER|CRL|LEAF/.test(systemCode(error) ?? '');

const isNetwork = (error: unknown): boolean => /^E(?!RR_)[A-Z_]+$/.test(systemCode(error) ?? '') && !isUntrusted(error);

const isTransient = (error: unknown): boolean => {
  if (error instanceof JanusRefusal) return error.status >= 500 && !isGone(error);
  return error instanceof RequestTimeout || (isNetwork(error) && !/^EPROTO/.test(systemCode(error) ?? ''));
};

/** Whether Docker or Kubernetes reports that the container does not run. It never runs again. */
export function isGone(error: unknown): boolean {
  return (
    error instanceof JanusRefusal &&
    /not running|no such container|container not found|stopped container|is restarting/i.test(error.detail)
  );
}

/** The text of an error answer: the field `error` or `message`, or the whole body. */
function detailOf(text: string): string {
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value === 'string') return oneLine(value);
    if (typeof value === 'object' && value !== null) {
      const { error, message } = value as { error?: unknown; message?: unknown };
      return oneLine(error ?? message ?? value);
    }
  } catch {
    // Not JSON: the body is shown unchanged.
  }
  return oneLine(text);
}

function oneLine(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const line = text.replace(/[\s\p{Cc}]+/gu, ' ').trim();
  return line.length > 300 ? `${line.slice(0, 299)}…` : line;
}

/**
 * Hands out a connection only after the server certificate is verified, so that no credentials reach another server.
 */
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
    // An IPv6 address has the brackets of the URL.
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
    const timer = setTimeout(() => socket.destroy(new RequestTimeout(timeout)), timeout);
    const fail = (error: Error): void => done(error, socket);
    socket.once('close', () => clearTimeout(timer));
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.off('error', fail);
      const seen = `sha256:${createHash('sha256').update(socket.getPeerCertificate().raw).digest('hex')}`;
      if (this.#pin === undefined || seen === this.#pin) return done(null, socket);
      socket.destroy();
      done(new NotPinned(`it has the fingerprint ${seen} instead of ${this.#pin}`), socket);
    });
    return undefined;
  }

  /** Reads the CA file for every connection, so that it can be rotated at any time. */
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
