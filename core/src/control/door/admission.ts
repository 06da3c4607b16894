import { constants } from 'node:http2';
import type { Socket } from 'node:net';
import type { Authenticator, Credentials, Identity } from '../../contracts/authenticator.js';
import { SciStreamError } from '../../contracts/errors.js';
import type { Logger } from '../../contracts/logger.js';
import { parseIp } from '../../contracts/network.js';
import type { Request, Response } from '../../serving/answer.js';
import { shownCertificate } from '../../serving/client-certificates.js';
import type { FloodLimits } from '../parts/settings.js';
import { RateLimiter } from './rate-limiter.js';
import { RecentCredentials } from './recent-credentials.js';

/** Longest token that is checked, in characters. The size of all headers is limited too. */
const MAX_TOKEN = 16 * 1024;

/** The identity of the caller, or why the call is rejected. */
export type Verdict = Admitted | { readonly error: unknown };

/** A call that is served. */
export interface Admitted {
  readonly identity: Identity;
  /** The key of the limits of the caller: its identity, or its address where authentication is off. */
  readonly account: string;
  /** Authenticates the caller again: a call may be long, and its credentials may expire. @throws as for a new call */
  readonly again: () => Promise<Identity>;
}

/**
 * Accepts or rejects connections and calls before any message is read. A caller without credentials can hold a connection
 * for a limited time, and gets a few rejections per second. Only the headers of its calls are read.
 */
export class Admission {
  readonly #callers: RateLimiter;
  readonly #strangers: RateLimiter;
  readonly #recent = new RecentCredentials();
  readonly #verdicts = new WeakMap<Request, Verdict>();
  /** Number of connections by source address. */
  readonly #clients = new Map<string, number>();
  /** Timers that close connections without an authenticated call, by remote address and port. */
  readonly #unproven = new Map<string, NodeJS.Timeout>();

  constructor(
    private readonly authenticator: Authenticator,
    private readonly limits: FloodLimits,
    private readonly log: Logger,
  ) {
    const tell = (from: string): void => this.log.warn({ from }, 'too many requests, rejecting some');
    this.#callers = new RateLimiter(() => limits.requestsPerSecond, 'requests of this caller', tell);
    this.#strangers = new RateLimiter(
      () => limits.strangerRequestsPerSecond,
      'requests without valid credentials from this address',
      tell,
    );
  }

  /** Accepts a new connection, or closes it before the TLS handshake. */
  connected(socket: Socket): void {
    const from = sourceOf(socket);
    const others = this.#clients.get(from) ?? 0;
    if (others >= this.limits.clientsPerAddress) {
      socket.destroy();
      return;
    }
    this.#clients.set(from, others + 1);
    const end = endOf(socket);
    this.#unproven.set(end, setTimeout(() => socket.destroy(), this.limits.strangerTimeoutMs).unref());
    socket.once('close', () => {
      const left = (this.#clients.get(from) ?? 1) - 1;
      if (left > 0) this.#clients.set(from, left);
      else this.#clients.delete(from);
      this.#proven(end);
    });
  }

  /** Authenticates the caller. @returns false if the caller has disconnected, so that the call is not to be served */
  async decide(request: Request, response: Response): Promise<boolean> {
    // Read now: a closed connection has no remote address.
    const end = endOf(request.socket);
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const verdict = await this.#judge(request, gone.signal);
    if (gone.signal.aborted) return false;
    this.#verdicts.set(request, verdict);
    if ('error' in verdict) leaveUnread(request, response);
    else {
      this.#proven(end);
      this.#mustEnd(request, response);
    }
    return true;
  }

  /** The result of `decide`. */
  verdictOf(request: Request): Verdict | undefined {
    return this.#verdicts.get(request);
  }

  async #judge(request: Request, signal: AbortSignal): Promise<Verdict> {
    const peer = request.socket.remoteAddress ?? '';
    const from = sourceOf(request.socket);
    const token = (request.headers.authorization ?? '').slice(0, MAX_TOKEN).replace(/^Bearer(\s+|$)/i, '');
    const certificate = shownCertificate(request.socket);
    const credentials = { token, peer, ...(certificate && { certificate }) };
    const identify = async (until?: AbortSignal): Promise<Identity> => ({
      ...(await this.authenticator.authenticate(credentials, until)),
      peer,
    });
    try {
      const identity = await this.#identified(credentials, from, () => identify(signal));
      const { issuer, subject } = identity;
      // Where authentication is off, all callers have one identity and only addresses differ.
      const account = issuer === 'none' ? from : `${issuer}:${subject}`;
      this.#callers.take(account);
      return { identity, account, again: () => identify() };
    } catch (error) {
      return { error };
    }
  }

  /**
   * Callers with recently accepted credentials do not count as strangers. Otherwise another user of their address, for
   * example on a login node, could lock them out.
   */
  async #identified(credentials: Credentials, from: string, identify: () => Promise<Identity>): Promise<Identity> {
    const known = this.#recent.has(credentials);
    // Counted before and given back after, so that concurrent calls count too.
    if (!known) this.#strangers.take(from);
    try {
      const identity = await identify();
      if (!known) this.#strangers.giveBack(from);
      if (identity.issuer !== 'none') this.#recent.accepted(credentials);
      return identity;
    } catch (error) {
      if (blames(error)) this.#recent.refused(credentials);
      else if (!known) this.#strangers.giveBack(from);
      throw error;
    }
  }

  #proven(end: string): void {
    clearTimeout(this.#unproven.get(end));
    this.#unproven.delete(end);
  }

  /** Limits the time in which the message has to arrive: a slow sender could hold a call without limit. */
  #mustEnd(request: Request, response: Response): void {
    const late = setTimeout(() => {
      if (!request.complete) reset(request);
    }, this.limits.strangerTimeoutMs).unref();
    response.once('close', () => clearTimeout(late));
  }
}

/** Whether authentication failed because of the credentials, not because of the control server or the issuer. */
const blames = (error: unknown): boolean =>
  SciStreamError.is(error) && /^SCI_(UNAUTHENTICATED$|TOKEN_|CERTIFICATE_)/.test(error.code);

/** The source for limits by address: with IPv6 the /64 network, because one host can use all its addresses. */
function sourceOf({ remoteAddress = '' }: Pick<Socket, 'remoteAddress'>): string {
  const ip = parseIp(remoteAddress);
  return !ip || ip.four ? remoteAddress : `${ip.words.slice(0, 2).join(':')}/64`;
}

/** A key that identifies a connection of a server. */
export const endOf = ({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string =>
  `${remoteAddress} ${remotePort}`;

function reset(request: Request): void {
  if ('stream' in request) request.stream.close(constants.NGHTTP2_CANCEL);
  else request.socket.destroy();
}

/**
 * Replaces the message of the caller with an empty one, so that the services reject the call in its own protocol without
 * reading the message.
 */
function leaveUnread(request: Request, response: Response): void {
  const { 'content-type': type = '' } = request.headers;
  const empty = type.includes('json') ? '{}' : '';
  const head = Buffer.from([0, 0, 0, 0, empty.length]);
  const framed = /^application\/(grpc|connect\+)/.test(type);
  delete request.headers['content-length'];
  delete request.headers['content-encoding'];
  const message = Buffer.concat([...(framed ? [head] : []), Buffer.from(empty)]);
  const read = async function* (): AsyncGenerator<Buffer> {
    yield message;
  };
  Object.defineProperty(request, Symbol.asyncIterator, { value: read });
  if ('stream' in request) {
    // RFC 9113 §8.1: the response is complete, and the rest of the request is not needed.
    const { stream } = request;
    response.once('finish', () => stream.close(constants.NGHTTP2_NO_ERROR));
  } else if (!request.complete && !('stream' in response)) response.setHeader('connection', 'close');
}
