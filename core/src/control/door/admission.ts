import { constants } from 'node:http2';
import type { Authenticator, Credentials, Identity } from '../../contracts/authenticator.js';
import { SciStreamError } from '../../contracts/errors.js';
import type { Logger } from '../../contracts/logger.js';
import { sourceOf } from '../../contracts/network.js';
import { abort, type Request, type Response } from '../../serving/answer.js';
import { shownCertificate } from '../../serving/client-certificates.js';
import { endOf, type Connections } from '../../serving/connections.js';
import { RateLimited } from '../../serving/error-status.js';
import { RateLimiter } from '../../serving/rate-limiter.js';
import type { FloodLimits } from '../parts/settings.js';
import { Places } from './places.js';
import { RecentCredentials } from './recent-credentials.js';

/** Longest token that is checked, in characters. The size of all headers is limited too. */
const MAX_TOKEN = 16 * 1024;
/**
 * Concurrent calls of a connection before its first accepted one. More than the 100 that clients send before they know a
 * limit, and more than the watchers of the health service.
 */
export const FIRST_CALLS = 128;
/** Concurrent calls of a connection afterwards; many may wait for HELLO, or watch. */
const MAX_CALLS = 2_000;
/**
 * Calls of one source, without recently accepted credentials, that are checked or answered at the same time. All first calls of
 * a connection may arrive together.
 */
const STRANGER_CALLS = FIRST_CALLS;
/** Time after which a caller may retry while too many calls of strangers are checked, ms. */
const BUSY_MS = 1_000;
/** Maximum time to deliver the rejection of a call, ms. A peer that reads nothing would hold the headers of its call. */
const REJECTION_MS = 2_000;

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
 * Accepts or rejects calls before any message is read. A caller without credentials gets a few rejections per second. Only
 * the headers of its calls are read. Beyond that, its connection is closed.
 */
export class Admission {
  readonly #callers: RateLimiter;
  readonly #strangers: RateLimiter;
  readonly #recent = new RecentCredentials();
  readonly #verdicts = new WeakMap<Request, Verdict>();
  /** Calls of strangers by source. */
  readonly #places = new Places();

  constructor(
    private readonly authenticator: Authenticator,
    private readonly limits: FloodLimits,
    private readonly connections: Connections,
    log: Logger,
  ) {
    const tell = (from: string): void => log.warn({ from }, 'too many requests, rejecting some');
    this.#callers = new RateLimiter(() => limits.requestsPerSecond, 'requests of this caller', tell);
    this.#strangers = new RateLimiter(
      () => limits.strangerRequestsPerSecond,
      'requests without valid credentials from this address',
      tell,
    );
  }

  /** Authenticates the caller. @returns false if the caller has disconnected, so that the call is not to be served */
  async decide(request: Request, response: Response): Promise<boolean> {
    // Read now: a closed connection has no remote address.
    const end = endOf(request.socket);
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const verdict = await this.#judge(request, response, end, gone.signal);
    if (gone.signal.aborted) return false;
    this.#verdicts.set(request, verdict);
    if ('error' in verdict) {
      // A stranger above its limits costs a connection for each rejection, and connections are limited too.
      if (verdict.error instanceof RateLimited && this.connections.isStranger(end)) acceptNoMore(request, response);
      leaveUnread(request, response);
    } else {
      this.#mustEnd(request, response);
    }
    return true;
  }

  /** The result of `decide`. */
  verdictOf(request: Request): Verdict | undefined {
    return this.#verdicts.get(request);
  }

  async #judge(request: Request, response: Response, end: string, signal: AbortSignal): Promise<Verdict> {
    const peer = request.socket.remoteAddress ?? '';
    const from = sourceOf(peer);
    const token = (request.headers.authorization ?? '').slice(0, MAX_TOKEN).replace(/^Bearer(\s+|$)/i, '');
    const certificate = shownCertificate(request.socket);
    const credentials = { token, peer, ...(certificate && { certificate }) };
    const identify = async (until?: AbortSignal): Promise<Identity> => ({
      ...(await this.authenticator.authenticate(credentials, until)),
      peer,
    });
    try {
      const identity = await this.#identified(credentials, from, response, () => identify(signal));
      // Also if the call exceeds the limit of its caller: only strangers lose their connection for that.
      if (this.connections.proven(end)) allowMore(request);
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
  async #identified(
    credentials: Credentials,
    from: string,
    response: Response,
    identify: () => Promise<Identity>,
  ): Promise<Identity> {
    // Where every caller is accepted, none is a stranger.
    const known = this.authenticator.allowsAnonymous || this.#recent.has(credentials);
    // Counted before and given back after, so that concurrent calls count too.
    const leave = known ? undefined : this.#enter(from);
    try {
      const identity = await identify();
      if (!known) this.#strangers.giveBack(from);
      leave?.();
      if (identity.issuer !== 'none') this.#recent.accepted(credentials);
      return identity;
    } catch (error) {
      if (leave) response.once('close', leave);
      // An authenticator that is too busy with calls of strangers is no reason to admit more of them.
      if (SciStreamError.is(error) && error.code === 'SCI_RATE_LIMITED') throw new RateLimited(error.message, BUSY_MS);
      if (blames(error)) this.#recent.refused(credentials);
      else if (!known) this.#strangers.giveBack(from);
      throw error;
    }
  }

  /** Counts a call of a stranger. @returns Ends the call @throws RateLimited */
  #enter(from: string): () => void {
    this.#strangers.take(from);
    const leave = this.#places.take(from, STRANGER_CALLS);
    if (leave) return leave;
    throw new RateLimited(`More than ${STRANGER_CALLS} calls of this address wait for an answer.`, BUSY_MS);
  }

  /** Limits the time in which the message has to arrive: a slow sender could hold a call without limit. */
  #mustEnd(request: Request, response: Response): void {
    const late = setTimeout(() => {
      if (!request.complete) abort(response);
    }, this.limits.strangerTimeoutMs).unref();
    response.once('close', () => clearTimeout(late));
  }
}

/** Whether authentication failed because of the credentials, not because of the control server or the issuer. */
const blames = (error: unknown): boolean =>
  SciStreamError.is(error) && /^SCI_(UNAUTHENTICATED$|TOKEN_|CERTIFICATE_)/.test(error.code);

/** The first accepted call of a connection raises the limit of its calls from {@link FIRST_CALLS}. */
function allowMore(request: Request): void {
  const session = 'stream' in request ? request.stream.session : undefined;
  if (session && !session.destroyed) session.settings({ maxConcurrentStreams: MAX_CALLS });
}

/** Ends the connection after this answer. With HTTP/2, the caller learns it before the answer, so it loses no other call. */
function acceptNoMore(request: Request, response: Response): void {
  if ('stream' in request) request.stream.session?.close();
  else if (!('stream' in response)) response.setHeader('connection', 'close');
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
  const late = setTimeout(() => abort(response), REJECTION_MS).unref();
  response.once('close', () => clearTimeout(late));
  if ('stream' in request) {
    // RFC 9113 §8.1: the response is complete, and the rest of the request is not needed.
    const { stream } = request;
    response.once('finish', () => stream.close(constants.NGHTTP2_NO_ERROR));
  } else if (!request.complete && !('stream' in response)) response.setHeader('connection', 'close');
}
