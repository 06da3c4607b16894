import type { MessageInitShape } from '@bufbuild/protobuf';
import { createClient, type CallOptions, type Client } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { formatAddress } from '../contracts/address.js';
import { SciStreamError } from '../contracts/errors.js';
import { silentLogger, type Logger } from '../contracts/logger.js';
import {
  Streams,
  type Caller,
  type ConnectResults,
  type FollowedEvent,
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
import { exposesToken, serverOf, type Endpoint } from './endpoint.js';
import { printableAnswers } from './printable-answers.js';
import { untilAdmitted } from './rate-limit.js';
import { fromRpcError, type FailedCall } from './rpc-errors.js';
import { VerifiedSessions } from './sessions.js';
import { authorization, readToken } from './token.js';

/** Deadline of calls that a server answers from memory, ms. */
const QUICK_MS = 10_000;
/** Deadline of calls for which a gateway opens a connection, ms. */
const CONNECTING_MS = 15_000;
/** Pages of one list. A server without a last page must not hold the client. */
const MAX_PAGES = 1_000;

/** Deadline of a call, and the signal that aborts it. */
export interface CallLimits {
  /** Default: that of the client. */
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * One connection to one control server (S2CS): gRPC over HTTP/2. It opens at the first call and reconnects after a
 * loss. Calls may overlap. A call that the server rejects with SCI_RATE_LIMITED is retried when the server permits it,
 * within its deadline. Every method throws a {@link SciStreamError}: the error of the server, or SCI_S2CS_UNREACHABLE,
 * SCI_TLS_UNTRUSTED or SCI_DEADLINE. If the caller's signal aborts, the method throws the reason of that signal.
 */
export class ControlClient {
  readonly endpoint: Endpoint;
  readonly #sessions: VerifiedSessions;
  readonly #control: Client<typeof Control>;
  readonly #streams: Client<typeof Streams>;
  readonly #quickMs: number;
  readonly #connectingMs: number;
  #answered = false;

  /**
   * @param deadlineMs Default deadline of calls, ms; at least 15 s for calls for which a gateway opens a connection.
   * @throws SCI_CONFIG_NOT_FOUND when the CA file cannot be read.
   */
  constructor(endpoint: Endpoint, log: Logger = silentLogger, deadlineMs: number = QUICK_MS) {
    this.endpoint = endpoint;
    this.#quickMs = deadlineMs;
    this.#connectingMs = Math.max(CONNECTING_MS, deadlineMs);
    this.#sessions = new VerifiedSessions(endpoint);
    if (endpoint.token && exposesToken(endpoint)) {
      log.warn({ s2cs: formatAddress(endpoint.address) }, 'token is sent in plain text');
    }
    const interceptors = [
      printableAnswers,
      ...(endpoint.token ? [authorization(endpoint.token, serverOf(endpoint))] : []),
    ];
    const transport = createGrpcTransport({
      baseUrl: this.#sessions.authority,
      sessionManager: this.#sessions,
      interceptors,
    });
    this.#control = createClient(Control, transport);
    this.#streams = createClient(Streams, transport);
  }

  /** Fingerprint `sha256:…` of the trusted certificate; undefined before the first call and without TLS. */
  get fingerprint(): string | undefined {
    return this.#sessions.fingerprint;
  }

  /** Whether the server may have received a request. */
  get opened(): boolean {
    return this.#sessions.opened;
  }

  /** Whether a control server has proven its presence, by its certificate or by an answer. */
  get reached(): boolean {
    return this.#answered || this.fingerprint !== undefined;
  }

  /** Reserves listeners. Answers after HELLO for the same uid (protocol.md §2), so send HELLO without waiting. */
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

  /**
   * Describes the server. `clockAheadMs` is the lead of its clock over the local one, accurate to about 1 s; undefined
   * if the server sends no date.
   */
  async survey(limits: CallLimits = {}): Promise<{ description: ServerDescription; clockAheadMs: number | undefined }> {
    let date: string | null = null;
    const asked = Date.now();
    const onHeader = (headers: Headers): void => void (date = headers.get('date'));
    const description = await this.#call('DescribeServer', limits, (options) =>
      this.#streams.describeServer({}, { ...options, onHeader }),
    );
    const now = (asked + Date.now()) / 2;
    // The header has whole seconds, rounded down.
    return { description, clockAheadMs: date === null ? undefined : Date.parse(date) + 500 - now };
  }

  /** Stops or resumes placing new streams on a gateway. The caller must be an admin. */
  drain(name: string, drained: boolean, reason: string, limits: CallLimits = {}): Promise<Gateway> {
    const request = { name, drained, reason };
    return this.#call('DrainGateway', limits, (options) => this.#streams.drainGateway(request, options));
  }

  /**
   * Drains a gateway and moves its movable streams; one answer for each stream, no deadline. The caller must be an
   * admin.
   */
  move(gateway: string, graceMs: number, signal?: AbortSignal): AsyncGenerator<StreamMove> {
    const request = { gateway, graceMs: BigInt(graceMs) };
    return this.#answers('MoveStreams', (options) => this.#streams.moveStreams(request, options), signal);
  }

  /** The identity of the caller at this server. */
  whoAmI(limits: CallLimits = {}): Promise<Caller> {
    return this.#call('WhoAmI', limits, (options) => this.#streams.whoAmI({}, options));
  }

  get(uid: string, limits: CallLimits = {}): Promise<Stream> {
    return this.#call('Get', limits, (options) => this.#streams.get({ uid }, options));
  }

  /** The events of a stream on this server, oldest first. */
  async events(uid: string, limits: CallLimits = {}): Promise<readonly StreamEvent[]> {
    return (await this.#call('Events', limits, (options) => this.#streams.events({ uid }, options))).events;
  }

  /**
   * The events of a stream as they are stored, until the stream has ended. The first answer has only the position.
   * @param uid Empty: all streams that the caller may see; the call then does not end.
   * @param after Position to continue after. Undefined: only events after the call.
   */
  followEvents(uid: string, after: bigint | undefined, signal?: AbortSignal): AsyncGenerator<FollowedEvent> {
    const request = { uid, ...(after !== undefined && { after }) };
    return this.#answers('FollowEvents', (options) => this.#streams.followEvents(request, options), signal);
  }

  /** The streams of the caller, oldest first. @param ended Whether to include ended streams that the server still has */
  async list(ended: boolean, limits: CallLimits = {}): Promise<readonly Stream[]> {
    const streams: Stream[] = [];
    let pageToken = '';
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const request = { ended, pageToken };
      const answer = await this.#call('List', limits, (options) => this.#streams.list(request, options));
      streams.unshift(...answer.streams);
      pageToken = answer.nextPageToken;
      if (pageToken === '') break;
    }
    return streams;
  }

  /**
   * The stream now and after every change of state, until it ends. The call has no deadline: HTTP/2 pings detect a dead
   * connection within 30 s, and `signal` ends the call. When the token expires, the call continues with a renewed
   * token.
   */
  async *watch(uid: string, signal?: AbortSignal): AsyncGenerator<Stream> {
    for (let received = true; received;) {
      received = false;
      try {
        for await (const stream of this.#answers('Watch', (options) => this.#streams.watch({ uid }, options), signal)) {
          received = true;
          yield stream;
        }
        return;
      } catch (error) {
        if (!received || !SciStreamError.is(error) || !error.code.startsWith('SCI_TOKEN_')) throw error;
      }
    }
  }

  /** @param tls Whether the port answers `probeTargets`, if this server can do it; see the field `tls` of the answer. */
  openProbe(uid: string, tls: boolean, limits: CallLimits = {}): Promise<Probe> {
    return this.#call('OpenProbe', limits, (options) => this.#streams.openProbe({ uid, tls }, options));
  }

  /** @returns The round trip from this server's gateway to the probe, ms. */
  async runProbe(uid: string, { address, challenge }: Probe, limits: CallLimits = {}): Promise<number> {
    const result = await this.#call('RunProbe', { deadlineMs: this.#connectingMs, ...limits }, (options) =>
      this.#streams.runProbe({ uid, address, challenge }, options),
    );
    return Number(result.roundTripUs) / 1000;
  }

  /**
   * Makes the gateway complete a TLS handshake with each target.
   * @param answer Field `probe` of the inbound side.
   * @param address Probe port instead of the targets; empty: the targets.
   */
  probeTargets(uid: string, answer: string, address: string, limits: CallLimits = {}): Promise<ConnectResults> {
    return this.#call('ProbeTargets', { deadlineMs: this.#connectingMs, ...limits }, (options) =>
      this.#streams.probeTargets({ uid, answer, address }, options),
    );
  }

  /** Makes the gateway connect to every target and disconnect. The application sees these connections. */
  connectTargets(uid: string, limits: CallLimits = {}): Promise<ConnectResults> {
    return this.#call('ConnectTargets', { deadlineMs: this.#connectingMs, ...limits }, (options) =>
      this.#streams.connectTargets({ uid }, options),
    );
  }

  /** Makes the gateway connect to the stream's first listener and hold the connection for `holdMs`. */
  connectListener(uid: string, holdMs: number, limits: CallLimits = {}): Promise<ConnectResults> {
    return this.#call('ConnectListener', { deadlineMs: holdMs + this.#connectingMs, ...limits }, (options) =>
      this.#streams.connectListener({ uid, holdMs: BigInt(holdMs) }, options),
    );
  }

  /** Closes the connection and aborts every call on it. Idempotent. */
  close(): void {
    this.#sessions.close();
  }

  /**
   * A call with a stream of answers. It has no deadline: HTTP/2 pings detect a dead connection, and `signal` ends it.
   */
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
    { deadlineMs = this.#quickMs, signal }: CallLimits,
    send: (options: { timeoutMs: number; signal?: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    const { token } = this.endpoint;
    try {
      // Outside the deadline of the call, because the renewal of a login may take longer.
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

  /** A server closes the connection without a reason if it rejects the client certificate, or expects TLS. */
  async #explained(thrown: unknown, call: Omit<FailedCall, 'endpoint'>): Promise<unknown> {
    const error = fromRpcError(thrown, { endpoint: this.endpoint, ...call });
    if (this.#answered || !SciStreamError.is(error) || error.code !== 'SCI_S2CS_UNREACHABLE') return error;
    return (await this.#sessions.refusal()) ?? error;
  }
}
