import { isIP } from 'node:net';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  formatAddress,
  isHost,
  MAX_TARGET_ADDRESSES,
  parseAddress,
  targetOf,
  type Target,
} from '../contracts/address.js';
import { quote, SciStreamError } from '../contracts/errors.js';
import type { GatewayStatus, Unreleased } from '../contracts/gateway.js';
import {
  ROLE_CODES,
  uidForOwner,
  type S2DSStatus,
  type StreamEvent,
  type StreamMoved,
  type StreamRecord,
  type StreamSnapshot,
} from '../contracts/stream.js';
import { errorInfo, fromErrorInfo } from './errors.js';
import { type SetTargetsRequest } from './gen/scistream/v1/gateway_pb.js';
import {
  StreamSchema,
  type GatewaySchema,
  type FollowedEventSchema,
  type Gateway,
  type Stream,
  type StreamMoveSchema,
} from './gen/scistream/v1/streams_pb.js';
import { statisticsMessage } from './statistics.js';

/**
 * A record and its live counters as a message of the service `Streams`.
 * @param reader The owner of the stream, or an admin, to which the uid of the owner may be ambiguous.
 */
export function toMessage(
  { record, status, error: unknown }: StreamSnapshot,
  facility: string,
  reader: string,
): Stream {
  const { spec, owner, gateway, proxy, runtime, rateEnforced, createdAt, expiresAt } = record;
  // What keeps a stream from its end matters more than why it ends.
  const error = (record.state === 'releasing' ? unknown : undefined) ?? record.error ?? status?.error ?? unknown;
  return create(StreamSchema, {
    uid: shownUid(record, reader),
    name: spec.name,
    role: ROLE_CODES[spec.role],
    state: userState(record, status),
    owner,
    facility,
    gateway,
    proxy,
    runtime,
    transport: spec.transport,
    listeners: record.listeners.map(formatAddress),
    announced: record.announced.map(formatAddress),
    ...targetsMessage(record.targets),
    bitsPerSecond: BigInt(spec.bitsPerSecond),
    rateEnforced,
    createdAt,
    expiresAt,
    encryption: spec.encryption,
    restarts: status?.restarts ?? record.restarts ?? 0,
    sources: [...(spec.sources ?? [])],
    movable: spec.movable ?? false,
    leaving: record.leaving?.gateway ?? '',
    ...liveMessage(record, status),
    ...(error ? { error: errorInfo(error) } : {}),
  });
}

/** What the status tells, or the final counters. */
function liveMessage({ final }: StreamRecord, status: S2DSStatus | undefined) {
  const { listeners = [], limit, tlsFailure, probe = '' } = status ?? {};
  return {
    probe,
    statistics: (final ?? listeners).map(statisticsMessage),
    ...(limit && !final ? { limit } : {}),
    ...(tlsFailure && { tlsFailure }),
  };
}

/** Targets with their fallbacks as fields of a message. A peer of an earlier version uses only the first addresses. */
export const targetsMessage = (
  targets: readonly Target[],
): { readonly targets: string[]; readonly fallbacks: { readonly hosts: string[] }[] } => ({
  targets: targets.map(formatAddress),
  fallbacks: targets.some(({ fallbacks }) => fallbacks)
    ? targets.map(({ fallbacks = [] }) => ({ hosts: [...fallbacks] }))
    : [],
});

/** The inverse of {@link targetsMessage}. @throws SCI_ADDRESS_INVALID, SCI_TARGETS_INVALID */
export function fromTargetsMessage({
  targets,
  fallbacks,
}: Pick<SetTargetsRequest, 'targets' | 'fallbacks'>): readonly Target[] {
  const bad = fallbacks.flatMap(({ hosts }) => hosts).find((host) => isIP(host) === 0 || !isHost(host));
  if (bad !== undefined || fallbacks.some(({ hosts }) => hosts.length >= MAX_TARGET_ADDRESSES)) {
    const why = bad === undefined ? `has more than ${MAX_TARGET_ADDRESSES} addresses` : `has the address ${quote(bad)}`;
    throw new SciStreamError('SCI_TARGETS_INVALID', `A target ${why}.`);
  }
  return targets.map((text, i) => {
    const { host, port } = parseAddress(text, 'Target');
    return targetOf([host, ...(fallbacks[i]?.hosts ?? [])], port);
  });
}

const shownUid = (record: StreamRecord, reader: string): string =>
  reader === record.owner ? uidForOwner(record) : record.uid;

/** An event as a message. */
export const eventMessage = ({ at, what, by = '', detail = '', id = 0 }: StreamEvent) => ({
  at,
  what,
  by,
  detail,
  id: BigInt(id),
});

/** An event and its stream as a message, or only the position. @param reader As for {@link toMessage}. */
export function followedMessage(
  item: { readonly position: number; readonly record?: StreamRecord; readonly event?: StreamEvent },
  reader: string,
): MessageInitShape<typeof FollowedEventSchema> {
  const { record, event } = item;
  const position = BigInt(item.position);
  if (!record || !event) return { position };
  const { spec, owner } = record;
  const of = { uid: shownUid(record, reader), name: spec.name, owner, role: ROLE_CODES[spec.role] };
  return { position, event: eventMessage(event), ...of };
}

/** A gateway and its usage as a message. */
export function gatewayMessage({
  description,
  error,
  ...status
}: GatewayStatus): MessageInitShape<typeof GatewaySchema> {
  const { drain, labels, streams, portsTotal, capacity, capacityInUse } = status;
  // Callers do not learn the addresses of the machine.
  const { addresses: _, unreleased, ...shown } = description;
  return {
    ...shown,
    advertiseSources: [...(shown.advertiseSources ?? [])],
    up: !error,
    drained: drain !== undefined,
    drainedSince: drain?.since ?? '',
    drainReason: drain?.reason ?? '',
    labels: [...labels],
    streams,
    portsTotal,
    capacity: BigInt(capacity),
    capacityInUse: BigInt(capacityInUse),
    ...unreleasedMessage(unreleased),
    ...(error ? { error: errorInfo(error) } : {}),
  };
}

/** The streams of a gateway whose release fails, as fields of its message. */
export const unreleasedMessage = (
  unreleased: Unreleased | undefined,
): Pick<MessageInitShape<typeof GatewaySchema>, 'unreleased' | 'unreleasedReason'> =>
  unreleased ? { unreleased: unreleased.streams, unreleasedReason: errorInfo(unreleased.reason) } : {};

/** The inverse of {@link unreleasedMessage}. */
export function fromUnreleased({ unreleased: streams, unreleasedReason }: Gateway): {
  readonly unreleased?: Unreleased;
} {
  if (streams === 0) return {};
  const { code, message, suggestions } = fromErrorInfo(unreleasedReason);
  return { unreleased: { streams, reason: new SciStreamError(code, message, { suggestions }) } };
}

/** The result of a move as a message. */
export function moveMessage({ record, from, moved, error }: StreamMoved): MessageInitShape<typeof StreamMoveSchema> {
  const { uid, spec, gateway, listeners } = record;
  return {
    uid,
    name: spec.name,
    role: ROLE_CODES[spec.role],
    from,
    to: moved ? gateway : '',
    listeners: listeners.map(formatAddress),
    ...(error && { error: errorInfo(error) }),
  };
}

/** The state in output: restarting while the proxy does not run, else ready until the first connection, streaming while one is open, then idle. */
function userState({ state, targets }: StreamRecord, status: S2DSStatus | undefined): string {
  if (status && status.state !== 'running') return status.state;
  // The first UPDATE is in progress, so no data can pass yet.
  if (state === 'updating' && targets.length === 0) return 'waiting';
  switch (state) {
    case 'provisioned':
      return 'waiting';
    case 'updating':
    case 'active': {
      const counters = status?.listeners ?? [];
      if (counters.some(({ open }) => open > 0)) return 'streaming';
      return counters.some(({ connections }) => connections > 0) ? 'idle' : 'ready';
    }
    default:
      return state;
  }
}
