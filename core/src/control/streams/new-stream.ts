/** What is decided about a request before its stream exists: its record, what the policy grants, and the limits. */
import { type Identity, ownerOf } from '../../contracts/authenticator.js';
import { SciStreamError } from '../../contracts/errors.js';
import type { Reservation } from '../../contracts/gateway.js';
import { isWithin, parseNetwork } from '../../contracts/network.js';
import type { Action, Granted } from '../../contracts/policy.js';
import { uidForOwner, type StreamRecord, type StreamSpec } from '../../contracts/stream.js';
import type { Limits } from '../parts/settings.js';
import { repeatable, waits } from './life.js';

/** Connections that one identity may have at gateways with few ports, unless the configuration has a limit. */
const FEW_CONNECTIONS = 16;

/**
 * The record of a request before the policy and the gateway have answered: nothing is granted or reserved.
 * @param uid Of the stream. @param requested The uid in the request.
 */
export function newRecord(
  uid: string,
  requested: string,
  spec: StreamSpec,
  gateway: string,
  identity: Identity,
  limits: Limits,
): StreamRecord {
  const now = Date.now();
  return {
    uid,
    version: 1,
    spec,
    state: 'reserving',
    owner: ownerOf(identity),
    ...(requested !== uid && { requestedUid: requested }),
    gateway,
    proxy: spec.proxy,
    runtime: spec.runtime,
    listeners: [],
    announced: [],
    targets: [],
    rateEnforced: false,
    createdAt: new Date(now).toISOString(),
    expiresAt: new Date(now + (spec.lifetimeMs || limits.lifetimeMs)).toISOString(),
  };
}

/** The request as the policy sees it, with the usage of its owner. @param live Records of all live streams. */
export function requestAction(stream: StreamRecord, live: readonly StreamRecord[]): Action {
  const own = live.filter(({ uid, owner }) => owner === stream.owner && uid !== stream.uid);
  const bitsPerSecond = own.reduce((sum, { spec }) => sum + spec.bitsPerSecond, 0);
  return { kind: 'request', stream, usage: { streams: own.length, bitsPerSecond } };
}

/** The record as the policy grants it. */
export function asGranted(asked: StreamRecord, granted: Granted): StreamRecord {
  const { proxy = asked.proxy, runtime = asked.runtime, lifetimeMs: most = Infinity } = granted;
  const sources = granted.sources && narrowed(granted.sources, asked.spec.peerSources);
  const created = Date.parse(asked.createdAt);
  const lifetimeMs = Math.min(Date.parse(asked.expiresAt) - created, most);
  const spec = { ...asked.spec, proxy, runtime, lifetimeMs, ...(sources ? { sources } : {}) };
  return { ...asked, spec, proxy, runtime, expiresAt: new Date(created + lifetimeMs).toISOString() };
}

/** The expected networks if the rule allows all of them; otherwise those of the rule. */
function narrowed(granted: readonly string[], expected: readonly string[] = []): readonly string[] {
  const networks = granted.map(parseNetwork);
  const allowed = expected.length > 0 && expected.every((one) => isWithin(parseNetwork(one), networks));
  return allowed ? expected : granted;
}

/** A change of a record by a reservation. The gateway knows whether the proxy enforces the expected networks. */
export function asReserved({ spec }: StreamRecord, { sources, ...rest }: Reservation): Partial<StreamRecord> {
  return { ...rest, ...(sources && { spec: { ...spec, sources } }) };
}

/**
 * Whether a request is the one of a live stream, sent again. Never if one of them is encrypted: only the gateway could tell
 * whether the credentials are the same.
 */
export function isRepeated({ owner, spec }: StreamRecord, live: StreamRecord): boolean {
  if (spec.encryption === 'tls' || live.spec.encryption === 'tls') return false;
  const { role, transport, connections } = live.spec;
  const same = live.owner === owner && role === spec.role && transport === spec.transport;
  return same && connections === spec.connections && repeatable(live);
}

/**
 * Checks the limits for a new stream.
 * @param live Records of all live streams.
 * @param ports Number of ports of all gateways.
 * @throws SCI_STREAM_EXISTS, SCI_LIMIT_REACHED
 */
export function checkLimits(stream: StreamRecord, live: readonly StreamRecord[], limits: Limits, ports: number): void {
  const { uid, owner } = stream;
  if (live.some((record) => record.uid === uid)) {
    throw new SciStreamError('SCI_STREAM_EXISTS', `Stream ${uidForOwner(stream)} already exists.`, {
      suggestions: ['Use a new uid, or release the stream first. Each side of a stream needs its own control server.'],
    });
  }
  const waiting = live.filter(waits);
  for (const [what, now, most] of [
    ['streams', live.length, limits.streams],
    ['waiting', waiting.length, limits.waiting],
  ] as const) {
    if (now >= most) throw limitReached(`This control server has reached limits.${what}, which is ${most}.`);
  }
  // Where authentication is off, all callers have one identity.
  if (owner.startsWith('none:')) return;
  const own = live.filter((record) => record.owner === owner);
  const taken = own.reduce((sum, { spec }) => sum + spec.connections, 0);
  const mostTaken = limits.connectionsPerIdentity ?? Math.max(FEW_CONNECTIONS, Math.ceil(ports / 2));
  for (const [what, key, then, most] of [
    ['streams that wait for HELLO', 'waitingPerIdentity', own.filter(waits).length + 1, limits.waitingPerIdentity],
    ['streams', 'streamsPerIdentity', own.length + 1, limits.streamsPerIdentity],
    ['connections', 'connectionsPerIdentity', taken + stream.spec.connections, mostTaken],
  ] as const) {
    if (then <= most) continue;
    throw limitReached(`${owner} would have ${then} ${what} here, more than limits.${key}, which is ${most}.`);
  }
}

const limitReached = (message: string): SciStreamError =>
  new SciStreamError('SCI_LIMIT_REACHED', message, {
    suggestions: [
      'Release streams that are no longer needed (scistream stream ls, scistream stream down), or retry later.',
    ],
  });
