import { setTimeout as sleep } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { formatAddress, parseAddress, type Address, type Transport } from '../contracts/address.js';
import { messageOf, SciStreamError, toSciStreamError } from '../contracts/errors.js';
import { type Role, type StreamTls, ROLE_CODES } from '../contracts/stream.js';
import { StreamSchema, type Stream } from '../wire/gen/scistream/v1/streams_pb.js';
import type { Response } from '../wire/gen/scistream_pb.js';
import type { ControlClient } from './control-client.js';

/** How long a control server may take to release a stream, ms. */
const RELEASE_MS = 15_000;
/** The same for one that has not answered anything so far. */
const DOUBTFUL_RELEASE_MS = 2_000;
/** How long UPDATE may take: names are looked up and proxies retargeted. */
const UPDATE_MS = 20_000;
/** REQ ends at the latest when the control server gives up waiting for HELLO: 180 s (protocol.md §2), and some. */
const CONTROLLER_MS = 200_000;

/** Pause before HELLO is said once more, ms. */
const HELLO_AGAIN_MS = 200;

/** One side to set up. */
export interface Side {
  readonly role: Role;
  readonly client: ControlClient;
  /** Secret. Absent: the stream is not to be encrypted, or is there already. */
  readonly tls?: StreamTls | undefined;
}

/** What a side is called where people see both. */
export const sideName = ({ role }: Side): 'from' | 'to' => (role === 'inbound' ? 'from' : 'to');

/** What to ask the control servers for; the same for both sides. */
export interface Plan {
  readonly uid: string;
  readonly name: string;
  readonly producer: readonly Address[];
  readonly connections: number;
  /** bit/s; 0 for none. */
  readonly bitsPerSecond: number;
  /** ms; 0 for the control server's limit. */
  readonly lifetimeMs: number;
  /** Empty for the gateway's default. */
  readonly proxy: string;
  readonly runtime: string;
  readonly transport: Transport;
  /** Name or label of the gateways that each side may be on; empty for any. */
  readonly gateways: Readonly<Record<Role, string>>;
  readonly movable: boolean;
  /** Of the data between the gateways. */
  readonly encryption: 'tls' | 'none';
  /** Who says HELLO: this client, or an application controller. */
  readonly hello: 'client' | 'controller';
  /** Time for REQ and for the stream to become ready, ms. */
  readonly waitMs: number;
}

/** A side whose listeners accept. */
export interface Reserved extends Omit<Side, 'tls'> {
  readonly listeners: readonly Address[];
  /** Where the producer listens, as HELLO said; on the outbound side empty. */
  readonly announced: readonly Address[];
  /** What the control server says of it. */
  readonly stream: Stream;
}

/**
 * REQ and, unless an application controller says it, HELLO at once: REQ is answered only after HELLO, and a HELLO that
 * comes first waits for its REQ (protocol.md §2).
 * @param outcomes Told how REQ went.
 * @throws SCI_PROXY_UNSUPPORTED when the stream should be encrypted and is not.
 */
export async function reserve(side: Side, plan: Plan, outcomes: Outcomes, signal: AbortSignal): Promise<Reserved> {
  const { role, client, tls } = side;
  const { uid, name, proxy, runtime, transport, gateways, movable } = plan;
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
    gateway: gateways[role],
    movable,
    ...(tls && { tls }),
  };
  let pending = true;
  const answer = client.req(request, { deadlineMs: byController ? CONTROLLER_MS : plan.waitMs, signal });
  const calls = Promise.all([
    answer.finally(() => void (pending = false)),
    byController || sayHello(side, plan, () => pending, signal),
  ]);
  const [response] = await calls.catch((error: unknown) => {
    if (!signal.aborted && isRefusal(error)) outcomes.set(side, 'refused');
    throw error;
  });
  outcomes.set(side, 'reserved');
  const listeners = response.listeners.map((text) => parseAddress(text, 'Listener'));
  if (listeners.length === 0) {
    throw new SciStreamError('SCI_PORTS_EXHAUSTED', 'The control server returned no listeners.');
  }
  const announced = response.prodListeners.map((text) => parseAddress(text, 'Producer'));
  const stream = streamOf(response, plan, role);
  if (tls) mustEncrypt(stream);
  return { role, client, listeners, announced, stream };
}

/**
 * HELLO, which a control server that does not know the stream holds for two seconds. REQ may come later than that, where
 * it was told to come back later (SCI_RATE_LIMITED), or was slow: as long as it is not answered, HELLO is said again.
 */
async function sayHello(
  { role, client }: Side,
  plan: Plan,
  pending: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  const { uid, producer, waitMs } = plan;
  const prodListeners = role === 'inbound' ? producer.map(formatAddress) : [];
  const deadline = performance.now() + waitMs;
  for (let deadlineMs = waitMs; ; deadlineMs = deadline - performance.now()) {
    try {
      await client.hello({ uid, role: ROLE_CODES[role], prodListeners }, { deadlineMs, signal });
      return;
    } catch (error) {
      if (!isUnknown(error) || !pending() || deadline - performance.now() <= HELLO_AGAIN_MS) throw error;
      await sleep(HELLO_AGAIN_MS, undefined, { signal });
    }
  }
}

/** A control server that knows nothing of encryption ignores the credentials. Nothing has flowed so far: there are no targets. */
function mustEncrypt({ encryption }: Stream): void {
  if (encryption === 'tls') return;
  throw new SciStreamError(
    'SCI_PROXY_UNSUPPORTED',
    'The control server did not encrypt the stream; its version may be too old.',
    {
      suggestions: ['Update the control server, or use --encryption none for data that others may read.'],
    },
  );
}

/**
 * The connection map (protocol.md §4): the inbound side forwards to the producer, the outbound side to the
 * listeners of the inbound side.
 * @param inbound Listeners of the inbound side.
 * @throws SCI_TARGETS_INVALID when nobody said where the producer listens.
 */
function targetsOf(side: Reserved, plan: Plan, inbound: readonly Address[]): readonly Address[] {
  if (side.role === 'outbound') return inbound;
  const producer = plan.hello === 'controller' && side.announced.length > 0 ? side.announced : plan.producer;
  if (producer.length > 0) return producer;
  throw new SciStreamError('SCI_TARGETS_INVALID', 'The address of the producer is unknown.', {
    suggestions: ['Add --producer host:port, or announce it in the HELLO of the application controller.'],
  });
}

/**
 * @param outbound Where consumers connect.
 * @throws SCI_TARGETS_INVALID when a producer is one of them: the stream would feed itself for ever.
 */
export function refuseLoop(producer: readonly Address[], outbound: readonly Address[]): void {
  const listeners = new Set(outbound.map(formatAddress));
  const loop = producer.map(formatAddress).find((address) => listeners.has(address));
  if (loop === undefined) return;
  throw new SciStreamError(
    'SCI_TARGETS_INVALID',
    `Producer ${loop} is the address where consumers of this stream connect.`,
    {
      suggestions: ['Give the listen address of the producer application.'],
    },
  );
}

/** UPDATE. @returns The side with its targets in force. */
export async function connectSide(
  side: Reserved,
  plan: Plan,
  inbound: readonly Address[],
  signal: AbortSignal,
): Promise<Reserved> {
  const response = await setTargets(side, plan.uid, targetsOf(side, plan, inbound), signal);
  return { ...side, stream: streamOf(response, plan, side.role) };
}

/** UPDATE, at any time. */
export function setTargets(
  { role, client }: Side,
  uid: string,
  targets: readonly Address[],
  signal?: AbortSignal,
): Promise<Response> {
  return client.update(uid, ROLE_CODES[role], targets.map(formatAddress), { deadlineMs: UPDATE_MS, signal });
}

/** The stream as an answer tells it; an older control server tells only its listeners and targets. */
function streamOf({ stream, listeners, prodListeners }: Response, { uid, name }: Plan, role: Role): Stream {
  return (
    stream ??
    create(StreamSchema, { uid, name, role: ROLE_CODES[role], state: 'ready', listeners, targets: prodListeners })
  );
}

/**
 * Does the same for every side at once. When one fails the others are interrupted and awaited, then the first failure is
 * thrown with its side named; or the reason of `signal` when that fired.
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

/** The same error, saying on which side it happened. */
export function naming({ role, client }: Side, error: unknown): SciStreamError {
  const { code, message, suggestions } = toSciStreamError(error);
  const side = role === 'inbound' ? 'Inbound' : 'Outbound';
  return new SciStreamError(code, `${side} side ${client.endpoint.facility}: ${message}`, {
    suggestions,
    cause: error,
  });
}

/**
 * RELEASE on every side at once, each with its own deadline; one that fails does not keep the others from it. A stream
 * the server does not know is released.
 * @param deadline Of a side, ms.
 * @returns The sides that could not be released, and why.
 */
export async function releaseSides(
  sides: readonly Side[],
  uid: string,
  deadline: (side: Side) => number = () => RELEASE_MS,
): Promise<readonly Unreleased[]> {
  const outcomes = sides.map(async (side): Promise<Unreleased | undefined> => {
    try {
      await side.client.release(uid, { deadlineMs: deadline(side) });
      return undefined;
    } catch (error) {
      return isUnknown(error) ? undefined : { side, error: naming(side, error) };
    }
  });
  return (await Promise.all(outcomes)).flatMap((unreleased) => unreleased ?? []);
}

interface Unreleased {
  readonly side: Side;
  readonly error: SciStreamError;
}

/** Whether a control server says that it has no such stream. */
export const isUnknown = (error: unknown): boolean => SciStreamError.is(error) && error.code === 'SCI_STREAM_NOT_FOUND';

/** How REQ went on each side; a side that is missing was interrupted before its answer. */
export type Outcomes = Map<Side, 'reserved' | 'refused'>;

/** Whether the control server itself said no, so that nothing is left there. */
const isRefusal = (error: unknown): boolean =>
  SciStreamError.is(error) && error.code !== 'SCI_S2CS_UNREACHABLE' && error.code !== 'SCI_DEADLINE';

/**
 * Releases after a failure. A side that refused is left alone: the uid may be somebody else's there.
 * @returns The error to throw: the cause itself, with a note when a side is left that may exist.
 */
export async function rollBack(
  sides: readonly Side[],
  outcomes: Outcomes,
  uid: string,
  cause: unknown,
): Promise<unknown> {
  const begun = sides.filter((side) => side.client.opened && outcomes.get(side) !== 'refused');
  const deadline = ({ client }: Side): number => (client.reached ? RELEASE_MS : DOUBTFUL_RELEASE_MS);
  const unreleased = await releaseSides(begun, uid, deadline);
  const left = unreleased.filter(({ side, error }) => outcomes.has(side) || (side.client.reached && !isDenied(error)));
  if (left.length === 0) return cause;
  const error = SciStreamError.is(cause) ? cause : new SciStreamError('SCI_CLIENT_GONE', messageOf(cause), { cause });
  const note = `Not released: ${left.map(({ error: why }) => why.message).join(' ')} Later: scistream stream down ${uid}`;
  return new SciStreamError(error.code, error.message, { cause, suggestions: [...error.suggestions, note] });
}

/** Who may not release could not reserve either. */
const isDenied = ({ code }: SciStreamError): boolean => code === 'SCI_UNAUTHENTICATED' || code === 'SCI_FORBIDDEN';
