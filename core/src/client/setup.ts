import { create } from '@bufbuild/protobuf';
import { formatAddress, parseAddress, type Address } from '../contracts/address.js';
import { SciStreamError, toSciStreamError } from '../contracts/errors.js';
import { ROLE_CODES, type Role, type StreamTls } from '../contracts/stream.js';
import { formatDuration } from '../contracts/units.js';
import { retry } from '../contracts/wait.js';
import { StreamSchema, type Stream } from '../wire/gen/scistream/v1/streams_pb.js';
import type { Response } from '../wire/gen/scistream_pb.js';
import type { ControlClient } from './control-client.js';
import { mustAcceptOnly } from './peer-sources.js';
import type { Plan } from './plan.js';
import { wasNeverSent } from './sessions.js';
import { WaitingRequest } from './waiting-request.js';

/** Deadline of UPDATE, which resolves names and sets the targets of proxies, ms. */
const UPDATE_MS = 20_000;
/** Pause before HELLO is retried, ms. */
const HELLO_RETRY_MS = 200;

/** One side of a stream at its control server. */
export interface Side {
  readonly role: Role;
  readonly client: ControlClient;
  /** Secret; absent for a stream without encryption, and for an existing one. */
  readonly tls?: StreamTls | undefined;
}

/** The name of a side in output. */
export const sideName = ({ role }: Side): 'from' | 'to' => (role === 'inbound' ? 'from' : 'to');

/** A side with listeners. */
export interface Reserved extends Omit<Side, 'tls'> {
  readonly listeners: readonly Address[];
  /** Addresses of the producer from HELLO; empty on the outbound side. */
  readonly announced: readonly Address[];
  /** The stream as its control server reports it. */
  readonly stream: Stream;
}

/**
 * Sends REQ, and HELLO in parallel unless an application controller sends it. REQ is answered only after HELLO, and a
 * HELLO that arrives first waits for its REQ (protocol.md §2).
 * @param sources Networks from which connections are expected; empty: all.
 * @param outcomes Receives the result of REQ.
 * @throws SCI_PROXY_UNSUPPORTED when the control server did not encrypt a stream that requires encryption.
 */
export async function reserve(
  side: Side,
  plan: Plan,
  sources: readonly string[],
  outcomes: Outcomes,
  signal: AbortSignal,
): Promise<Reserved> {
  const { role, client, tls } = side;
  const { uid, name, proxy, runtime, transport, movable } = plan;
  const byController = plan.hello === 'controller';
  const request = {
    uid,
    role: ROLE_CODES[role],
    numConn: plan.connections,
    name,
    bitsPerSecond: BigInt(plan.bitsPerSecond),
    lifetimeMs: BigInt(plan.lifetimeMs),
    proxy,
    runtime,
    transport,
    gateway: role === 'inbound' ? plan.fromGateway : plan.toGateway,
    movable,
    sources: [...sources],
    ...(tls && { tls }),
  };
  let pending = true;
  const waiting = new WaitingRequest(client, uid);
  const send = (deadlineMs: number): Promise<Response> => client.req(request, { deadlineMs, signal });
  const answer = byController ? waiting.send(send, plan.waitMs, signal) : send(plan.waitMs);
  const calls = Promise.all([
    answer.finally(() => void (pending = false)),
    byController || sendHello(side, plan, () => pending, signal),
  ]);
  const [response] = await calls.catch((error: unknown) => {
    if (!signal.aborted && holdsNothing(error) && !waiting.waited) outcomes.set(side, 'absent');
    throw byController ? noHello(error, plan) : error;
  });
  outcomes.set(side, 'reserved');
  const listeners = response.listeners.map((text) => parseAddress(text, 'Listener'));
  if (listeners.length === 0) {
    throw new SciStreamError('SCI_PORTS_EXHAUSTED', 'The control server returned no listeners.', {
      suggestions: ['Ask the operator to extend gateways[].ports.'],
    });
  }
  const announced = response.prodListeners.map((text) => parseAddress(text, 'Producer'));
  const stream = streamOf(response, plan, role);
  if (tls) mustEncrypt(stream);
  if (role === 'inbound' && plan.sources !== 'peer') mustAcceptOnly(stream, plan.sources);
  return { role, client, listeners, announced, stream };
}

/** The error of a REQ that waited for an application controller: a control server that works answers only after HELLO. */
function noHello(error: unknown, { uid, waitMs }: Plan): unknown {
  if (!SciStreamError.is(error) || error.code !== 'SCI_DEADLINE') return error;
  const message = `No HELLO for stream ${uid} has arrived within ${formatDuration(waitMs)}, or the control server does not answer.`;
  return new SciStreamError('SCI_HELLO_TIMEOUT', message, {
    cause: error,
    suggestions: ['Send HELLO for the uid from the application controller, or increase --wait.'],
  });
}

/**
 * Sends HELLO. A control server holds a HELLO for an unknown stream for 2 s. REQ can arrive later, because it was slow
 * or rate-limited (SCI_RATE_LIMITED). While REQ is pending, HELLO is therefore retried.
 */
async function sendHello(
  { role, client }: Side,
  plan: Plan,
  pending: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  const { uid, producer, waitMs } = plan;
  const prodListeners = role === 'inbound' ? producer.map(formatAddress) : [];
  await retry((deadlineMs) => client.hello({ uid, role: ROLE_CODES[role], prodListeners }, { deadlineMs, signal }), {
    pauseMs: (error) => (isUnknown(error) && pending() ? HELLO_RETRY_MS : undefined),
    timeoutMs: waitMs,
    signal,
  });
}

/** An older control server ignores the credentials. No data has been sent yet, because the stream has no targets. */
function mustEncrypt({ encryption }: Stream): void {
  if (encryption === 'tls') return;
  throw new SciStreamError(
    'SCI_PROXY_UNSUPPORTED',
    'The control server did not encrypt the stream, because its version is too old.',
    {
      suggestions: ['Upgrade the control server, or add --encryption none if the data needs no protection.'],
    },
  );
}

/**
 * The connection map (protocol.md §4): the inbound side forwards to the producer, the outbound side to the listeners of
 * the inbound side.
 * @param inbound Listeners of the inbound side.
 * @throws SCI_TARGETS_INVALID when neither the plan nor HELLO names a producer.
 */
function targetsOf(side: Reserved, plan: Plan, inbound: readonly Address[]): readonly Address[] {
  if (side.role === 'outbound') return inbound;
  const producer = plan.hello === 'controller' && side.announced.length > 0 ? side.announced : plan.producer;
  if (producer.length > 0) return producer;
  throw new SciStreamError('SCI_TARGETS_INVALID', 'The address of the producer is unknown.', {
    suggestions: ['Add --producer host:port, or send the address in the HELLO of the application controller.'],
  });
}

/**
 * Rejects a stream that would feed its own output back to itself.
 * @param outbound Listeners of the outbound side.
 * @throws SCI_TARGETS_INVALID when a producer is one of them.
 */
export function refuseLoop(producer: readonly Address[], outbound: readonly Address[]): void {
  const listeners = new Set(outbound.map(formatAddress));
  const loop = producer.map(formatAddress).find((address) => listeners.has(address));
  if (loop === undefined) return;
  throw new SciStreamError('SCI_TARGETS_INVALID', `Producer ${loop} is also a listener of the outbound side.`, {
    suggestions: ['Use the address on which the producer application listens.'],
  });
}

/** Sends the first UPDATE. @returns The side with its current targets. */
export async function connectSide(
  side: Reserved,
  plan: Plan,
  inbound: readonly Address[],
  signal: AbortSignal,
): Promise<Reserved> {
  const response = await setTargets(side, plan.uid, targetsOf(side, plan, inbound), signal);
  return { ...side, stream: streamOf(response, plan, side.role) };
}

/** Sends UPDATE; may be repeated. */
export function setTargets(
  { role, client }: Side,
  uid: string,
  targets: readonly Address[],
  signal?: AbortSignal,
): Promise<Response> {
  return client.update(uid, ROLE_CODES[role], targets.map(formatAddress), { deadlineMs: UPDATE_MS, signal });
}

/** The stream in a response. An older control server returns only listeners and targets. */
function streamOf({ stream, listeners, prodListeners }: Response, { uid, name }: Plan, role: Role): Stream {
  return (
    stream ??
    create(StreamSchema, { uid, name, role: ROLE_CODES[role], state: 'ready', listeners, targets: prodListeners })
  );
}

/**
 * Runs `work` for all sides in parallel. If one side fails, the others are aborted and awaited.
 * @throws The first error, with its side; the reason of `signal` if that aborted.
 */
export async function onEverySide<S extends Side, T>(
  sides: readonly S[],
  work: (side: S, signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<readonly T[]> {
  signal?.throwIfAborted();
  const stop = new AbortController();
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const running = sides.map(async (side) => {
    try {
      return await work(side, either);
    } catch (error) {
      throw either.aborted ? error : naming(side, error);
    }
  });
  try {
    return await Promise.all(running);
  } catch (first) {
    stop.abort(first);
    await Promise.allSettled(running);
    signal?.throwIfAborted();
    throw first;
  }
}

/** The same error, with the side in its message. */
export function naming({ role, client }: Side, error: unknown): SciStreamError {
  const { code, message, suggestions } = toSciStreamError(error);
  const side = role === 'inbound' ? 'Inbound' : 'Outbound';
  return new SciStreamError(code, `${side} side ${client.endpoint.facility}: ${message}`, {
    suggestions,
    cause: error,
  });
}

/** Whether the error means that the control server does not have the stream. */
export const isUnknown = (error: unknown): boolean => SciStreamError.is(error) && error.code === 'SCI_STREAM_NOT_FOUND';

/** Whether the error means that the control server has another version without this call. */
export const isNotOffered = (error: unknown): boolean => SciStreamError.is(error) && error.code === 'SCI_NOT_OFFERED';

/**
 * The result of REQ on each side. `absent`: the control server rejected it, or received nothing of it. A missing side has
 * not answered.
 */
export type Outcomes = Map<Side, 'reserved' | 'absent'>;

/** Whether the error of REQ means that the control server holds nothing of the stream. */
const holdsNothing = (error: unknown): boolean =>
  SciStreamError.is(error) && (!UNDECIDED.has(error.code) || wasNeverSent(error));

/** A stopping control server keeps a request that waits for HELLO. */
const UNDECIDED = new Set(['SCI_S2CS_UNREACHABLE', 'SCI_DEADLINE', 'SCI_SHUTTING_DOWN']);
