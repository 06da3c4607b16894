import { readFile } from 'node:fs/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { createClient, type CallOptions, type Client, type Interceptor } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { formatAddress } from '../contracts/address.js';
import { SciStreamError, systemCode } from '../contracts/errors.js';
import { silentLogger, type Logger } from '../contracts/logger.js';
import {
  Streams,
  type Caller,
  type ConnectResults,
  type Gateway,
  type Probe,
  type ServerDescription,
  type Stream,
  type StreamEvent,
  type StreamMove,
} from '../wire/gen/scistream/v1/streams_pb.js';
import {
  Control,
  type AppResponse,
  type HelloSchema,
  type RequestSchema,
  type Response,
} from '../wire/gen/scistream_pb.js';
import { exposesToken, serverOf, type Endpoint, type TokenSource } from './endpoint.js';
import { untilAdmitted } from './rate-limit.js';
import { fromRpcError, type FailedCall } from './rpc-errors.js';
import { VerifiedSessions } from './sessions.js';

/** For calls that a server answers out of its head, ms. */
const QUICK_MS = 10_000;
/** For calls that make the gateway connect somewhere, ms. */
const CONNECTING_MS = 15_000;

/** How long a call may take, and who may end it before. */
export interface CallLimits {
  /** Default 10 s. */
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * One connection to one control server (S2CS): gRPC over HTTP/2, made at the first call and again when it was lost. Calls
 * may overlap. A call that a server counts too many is made again when the server says so, within its deadline. Every
 * method throws a {@link SciStreamError}: what the server said, or SCI_S2CS_UNREACHABLE, SCI_TLS_UNTRUSTED, SCI_DEADLINE;
 * or, when the caller's signal fired, the reason of that signal.
 */
export class ControlClient {
  readonly endpoint: Endpoint;
  readonly #sessions: VerifiedSessions;
  readonly #control: Client<typeof Control>;
  readonly #streams: Client<typeof Streams>;
  #answered = false;

  /** @throws SCI_CONFIG_NOT_FOUND when the CA file cannot be read. */
  constructor(endpoint: Endpoint, log: Logger = silentLogger) {
    this.endpoint = endpoint;
    this.#sessions = new VerifiedSessions(endpoint);
    if (endpoint.token && exposesToken(endpoint)) {
      log.warn({ s2cs: formatAddress(endpoint.address) }, 'token sent in plain text');
    }
    const interceptors = endpoint.token ? [authorization(endpoint.token, serverOf(endpoint))] : [];
    const transport = createGrpcTransport({
      baseUrl: this.#sessions.authority,
      sessionManager: this.#sessions,
      interceptors,
    });
    this.#control = createClient(Control, transport);
    this.#streams = createClient(Streams, transport);
  }

  /** `sha256:…` of the certificate that was trusted; undefined before the first call and without TLS. */
  get fingerprint(): string | undefined {
    return this.#sessions.fingerprint;
  }

  /** Whether a request can have gone out at all. */
  get opened(): boolean {
    return this.#sessions.opened;
  }

  /** Whether it is certain that a control server was there: by its certificate, or by an answer. */
  get reached(): boolean {
    return this.#answered || this.fingerprint !== undefined;
  }

  /** Reserves listeners. Answers when HELLO for the same uid has come (protocol.md §2), so send that at once. */
  req(request: MessageInitShape<typeof RequestSchema>, limits: CallLimits): Promise<Response> {
    return this.#call('req', limits, (options) => this.#control.req(request, options));
  }

  hello(hello: MessageInitShape<typeof HelloSchema>, limits: CallLimits): Promise<AppResponse> {
    return this.#call('hello', limits, (options) => this.#control.hello(hello, options));
  }

  /** Sets the targets; may be repeated. */
  update(uid: string, role: string, targets: readonly string[], limits: CallLimits = {}): Promise<Response> {
    return this.#call('update', limits, (options) =>
      this.#control.update({ uid, role, remoteListeners: [...targets] }, options),
    );
  }

  release(uid: string, limits: CallLimits = {}): Promise<Response> {
    return this.#call('release', limits, (options) => this.#control.release({ uid }, options));
  }

  describe(limits: CallLimits = {}): Promise<ServerDescription> {
    return this.#call('DescribeServer', limits, (options) => this.#streams.describeServer({}, options));
  }

  /** What the server is, and by how many ms its clock is ahead of ours, to about a second; undefined where it does not say. */
  async survey(limits: CallLimits = {}): Promise<{ description: ServerDescription; clockAheadMs: number | undefined }> {
    let date: string | null = null;
    const asked = Date.now();
    const onHeader = (headers: Headers): void => void (date = headers.get('date'));
    const description = await this.#call('DescribeServer', limits, (options) =>
      this.#streams.describeServer({}, { ...options, onHeader }),
    );
    const now = (asked + Date.now()) / 2;
    // The header has whole seconds, cut off.
    return { description, clockAheadMs: date === null ? undefined : Date.parse(date) + 500 - now };
  }

  /** Lets a gateway take no new streams, or take them again. Needs an admin. */
  drain(name: string, drained: boolean, limits: CallLimits = {}): Promise<Gateway> {
    return this.#call('DrainGateway', limits, (options) => this.#streams.drainGateway({ name, drained }, options));
  }

  /** Drains a gateway and moves its movable streams away, one answer for each, as long as it takes. Needs an admin. */
  move(gateway: string, graceMs: number, signal?: AbortSignal): AsyncGenerator<StreamMove> {
    const request = { gateway, graceMs: BigInt(graceMs) };
    return this.#answers('MoveStreams', (options) => this.#streams.moveStreams(request, options), signal);
  }

  /** Whom the server takes us for. */
  whoAmI(limits: CallLimits = {}): Promise<Caller> {
    return this.#call('WhoAmI', limits, (options) => this.#streams.whoAmI({}, options));
  }

  get(uid: string, limits: CallLimits = {}): Promise<Stream> {
    return this.#call('Get', limits, (options) => this.#streams.get({ uid }, options));
  }

  /** What happened to a stream there, oldest first. */
  async events(uid: string, limits: CallLimits = {}): Promise<readonly StreamEvent[]> {
    return (await this.#call('Events', limits, (options) => this.#streams.events({ uid }, options))).events;
  }

  /** @param ended Also the streams that are over, as far as the server remembers them. */
  async list(ended: boolean, limits: CallLimits = {}): Promise<readonly Stream[]> {
    return (await this.#call('List', limits, (options) => this.#streams.list({ ended }, options))).streams;
  }

  /**
   * The stream now and after every change of state, until it is over. The only call without a deadline: HTTP/2 pings
   * notice a dead connection within 30 s, and `signal` ends it. It outlives its token where there is another one by then.
   */
  async *watch(uid: string, signal?: AbortSignal): AsyncGenerator<Stream> {
    for (let told = true; told;) {
      told = false;
      try {
        for await (const stream of this.#answers('Watch', (options) => this.#streams.watch({ uid }, options), signal)) {
          told = true;
          yield stream;
        }
        return;
      } catch (error) {
        if (!told || !SciStreamError.is(error) || !error.code.startsWith('SCI_TOKEN_')) throw error;
      }
    }
  }

  openProbe(uid: string, limits: CallLimits = {}): Promise<Probe> {
    return this.#call('OpenProbe', limits, (options) => this.#streams.openProbe({ uid }, options));
  }

  /** @returns The round trip from this server's gateway to the probe, ms. */
  async runProbe(uid: string, { address, challenge }: Probe, limits: CallLimits = {}): Promise<number> {
    const result = await this.#call('RunProbe', { deadlineMs: CONNECTING_MS, ...limits }, (options) =>
      this.#streams.runProbe({ uid, address, challenge }, options),
    );
    return Number(result.roundTripUs) / 1000;
  }

  /** Lets the gateway connect to every target and close again: the application behind it sees that. */
  connectTargets(uid: string, limits: CallLimits = {}): Promise<ConnectResults> {
    return this.#call('ConnectTargets', { deadlineMs: CONNECTING_MS, ...limits }, (options) =>
      this.#streams.connectTargets({ uid }, options),
    );
  }

  /** Lets the gateway connect to the stream's first listener and hold that connection for `holdMs`. */
  connectListener(uid: string, holdMs: number, limits: CallLimits = {}): Promise<ConnectResults> {
    return this.#call('ConnectListener', { deadlineMs: holdMs + CONNECTING_MS, ...limits }, (options) =>
      this.#streams.connectListener({ uid, holdMs: BigInt(holdMs) }, options),
    );
  }

  /** Ends the connection and every call on it. Idempotent. */
  close(): void {
    this.#sessions.close();
  }

  /** A call with many answers. It has no deadline: pings of HTTP/2 notice a dead connection, and `signal` ends it. */
  async *#answers<T>(
    rpc: string,
    open: (options: CallOptions) => AsyncIterable<T>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<T> {
    const begin = async (): Promise<{ answers: AsyncIterator<T>; first: IteratorResult<T> }> => {
      const answers = open(signal ? { signal } : {})[Symbol.asyncIterator]();
      return { answers, first: await answers.next() };
    };
    try {
      const { answers, first } = await untilAdmitted(begin, Infinity, signal);
      try {
        for (let next = first; !next.done; next = await answers.next()) yield next.value;
      } finally {
        await answers.return?.();
      }
    } catch (error) {
      throw await this.#explained(error, { rpc, deadlineMs: 0, signal });
    }
  }

  async #call<T>(
    rpc: string,
    { deadlineMs = QUICK_MS, signal }: CallLimits,
    send: (options: { timeoutMs: number; signal?: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    const { token } = this.endpoint;
    try {
      // Renewing a login may take longer than the call is given.
      if (token && 'login' in token) await readToken(token, serverOf(this.endpoint));
      const call = (timeoutMs: number): Promise<T> =>
        send({ timeoutMs: Math.ceil(timeoutMs), ...(signal && { signal }) });
      const answer = await untilAdmitted(call, deadlineMs, signal);
      this.#answered = true;
      return answer;
    } catch (error) {
      throw await this.#explained(error, { rpc, deadlineMs, signal });
    }
  }

  /** A server that takes no connection without a good client certificate ends it without a word of ours. */
  async #explained(thrown: unknown, call: Omit<FailedCall, 'endpoint'>): Promise<unknown> {
    const error = fromRpcError(thrown, { endpoint: this.endpoint, ...call });
    if (this.#answered || !SciStreamError.is(error) || error.code !== 'SCI_S2CS_UNREACHABLE') return error;
    return (await this.#sessions.refusal()) ?? error;
  }
}

/** Adds the token as the metadata key `authorization` (protocol.md §2). */
function authorization(source: TokenSource, server: string): Interceptor {
  return (next) => async (request) => {
    request.header.set('authorization', await readToken(source, server));
    return next(request);
  };
}

/** @param server Whom it is sent to, as `serverOf` says it. */
async function readToken(source: TokenSource, server: string): Promise<string> {
  if ('login' in source) {
    // Loaded only where it is needed: most commands have no login.
    const { accessToken } = await import('./login/access-token.js');
    return await accessToken({ ...source.login, server });
  }
  const token = 'env' in source ? process.env[source.env]?.trim() : (await readTokenFile(source.file)).trim();
  if (token && /^[\x21-\x7e]+$/.test(token)) return token;
  const where = 'env' in source ? `environment variable ${source.env}` : `file ${source.file}`;
  throw new SciStreamError('SCI_UNAUTHENTICATED', `No token in ${where}.`, {
    suggestions: ['Put the token there on one line and try again.'],
  });
}

async function readTokenFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new SciStreamError(
      'SCI_UNAUTHENTICATED',
      `Cannot read the token file ${file} (${systemCode(cause) ?? 'unknown error'}).`,
      { cause },
    );
  }
}
