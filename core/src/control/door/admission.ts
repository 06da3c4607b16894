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

/** Longest token that is looked at; the header list is limited anyway. */
const MAX_TOKEN = 16 * 1024;

/** Who calls, or why the call is refused. */
export type Verdict = Admitted | { readonly error: unknown };

/** A call that may be served. */
export interface Admitted {
  readonly identity: Identity;
  /** Under which name its limits are counted: who it is, or its address where nobody has to say. */
  readonly account: string;
  /** Who the caller is by now: a call may last, and what let it in may have expired or been revoked. @throws as for a new call */
  readonly again: () => Promise<Identity>;
}

/**
 * Decides about connections and calls before anything of a message is read. A stranger costs a connection for a limited
 * time and a few refusals per second; of what it sends nothing but the headers is kept.
 */
export class Admission {
  readonly #callers: RateLimiter;
  readonly #strangers: RateLimiter;
  readonly #recent = new RecentCredentials();
  readonly #verdicts = new WeakMap<Request, Verdict>();
  /** Connections by the address they come from. */
  readonly #clients = new Map<string, number>();
  /** Ends the connections on which nobody has said yet who it is, by their remote end. */
  readonly #unproven = new Map<string, NodeJS.Timeout>();

  constructor(
    private readonly authenticator: Authenticator,
    private readonly limits: FloodLimits,
    private readonly log: Logger,
  ) {
    const tell = (from: string): void => this.log.warn({ from }, 'too many requests: some are refused');
    this.#callers = new RateLimiter(() => limits.requestsPerSecond, 'requests of this caller', tell);
    this.#strangers = new RateLimiter(
      () => limits.strangerRequestsPerSecond,
      'requests without valid credentials from this address',
      tell,
    );
  }

  /** Takes a new connection, or cuts it: before the TLS handshake. */
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

  /** Finds out who calls. @returns false when the caller is gone meanwhile, and the call is not to be served */
  async decide(request: Request, response: Response): Promise<boolean> {
    // Asked for now: a connection that is gone has none.
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

  /** What was decided. */
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
      // Where nobody has to say who it is, the address tells callers apart.
      const account = issuer === 'none' ? from : `${issuer}:${subject}`;
      this.#callers.take(account);
      return { identity, account, again: () => identify() };
    } catch (error) {
      return { error };
    }
  }

  /** Those who were let in of late are no strangers: whoever shares their address, as on a login node, cannot keep them out. */
  async #identified(credentials: Credentials, from: string, identify: () => Promise<Identity>): Promise<Identity> {
    const known = this.#recent.has(credentials);
    // Counted first and given back later, so that many at once count, too.
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

  /** Whoever sends its message a byte at a time would hold a call for as long as it likes. */
  #mustEnd(request: Request, response: Response): void {
    const late = setTimeout(() => {
      if (!request.complete) cut(request);
    }, this.limits.strangerTimeoutMs).unref();
    response.once('close', () => clearTimeout(late));
  }
}

/** Whether it is the caller's fault that it is not known. */
const blames = (error: unknown): boolean =>
  SciStreamError.is(error) && /^SCI_(UNAUTHENTICATED$|TOKEN_|CERTIFICATE_)/.test(error.code);

/** Whom a limit for addresses is about: with IPv6 a network, because a host has all addresses of one. */
function sourceOf({ remoteAddress = '' }: Pick<Socket, 'remoteAddress'>): string {
  const ip = parseIp(remoteAddress);
  return !ip || ip.four ? remoteAddress : `${ip.words[0]?.toString(16)}:${ip.words[1]?.toString(16)}/64`;
}

/** Tells the connections of a server apart. */
export const endOf = ({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string =>
  `${remoteAddress} ${remotePort}`;

function cut(request: Request): void {
  if ('stream' in request) request.stream.close(constants.NGHTTP2_CANCEL);
  else request.socket.destroy();
}

/**
 * Puts an empty message in the place of the one that the caller sends, so that the services refuse the call in the protocol
 * it came in, without having read it.
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
    // RFC 9113 §8.1: an answer is complete, the rest of the request is not wanted.
    const { stream } = request;
    response.once('finish', () => stream.close(constants.NGHTTP2_NO_ERROR));
  } else if (!request.complete && !('stream' in response)) response.setHeader('connection', 'close');
}
