import { SciStreamError } from '../contracts/errors.js';
import { ROLE_CODES } from '../contracts/stream.js';
import { fromErrorInfo, printableLine } from '../wire/errors.js';
import type { ErrorInfo, Gateway, StreamMove as MoveMessage } from '../wire/gen/scistream/v1/streams_pb.js';

/** A gateway of a control server; where it is down, what it last told. */
export interface GatewayState {
  readonly name: string;
  readonly up: boolean;
  /** Takes no new streams. */
  readonly drained: boolean;
  readonly streams: number;
  readonly ports: { readonly range: string; readonly used: number; readonly total: number };
  /** bit/s: what streams asked for, and what the configuration says there is. */
  readonly capacity: { readonly used: number; readonly total?: number };
  readonly labels: readonly string[];
  readonly wan: string;
  readonly lan: string;
  readonly proxy: string;
  readonly runtime: string;
  /** Why it is down. */
  readonly error?: SciStreamError;
}

/** What became of one stream of a gateway that was to be left. */
export interface StreamMove {
  readonly uid: string;
  readonly name: string;
  readonly side: 'from' | 'to';
  readonly from: string;
  /** Absent: it stays. */
  readonly to?: string;
  /** In force now, host:port. */
  readonly listeners: readonly string[];
  /** Why it could not be moved; a stream that is not movable stays without one. */
  readonly error?: SciStreamError;
}

/** A message as its parts; foreign text is made printable. */
export function streamMove({ uid, name, role, from, to, listeners, error }: MoveMessage): StreamMove {
  return {
    uid: printableLine(uid),
    name: printableLine(name),
    side: role === ROLE_CODES.inbound ? 'from' : 'to',
    from: printableLine(from),
    ...(to !== '' && { to: printableLine(to) }),
    listeners: listeners.map(printableLine),
    ...(error && { error: errorOf(error) }),
  };
}

/** A message as its parts; foreign text is made printable. */
export function gatewayState(message: Gateway): GatewayState {
  const { up, drained, streams, ports, portsInUse, portsTotal, capacity, capacityInUse, error } = message;
  return {
    name: printableLine(message.name),
    up,
    drained,
    streams,
    ports: { range: printableLine(ports), used: portsInUse, total: portsTotal },
    capacity: { used: Number(capacityInUse), ...(capacity > 0n ? { total: Number(capacity) } : {}) },
    labels: message.labels.map(printableLine),
    wan: printableLine(message.wan),
    lan: printableLine(message.lan),
    proxy: printableLine(message.proxy),
    runtime: printableLine(message.runtime),
    ...(error && { error: errorOf(error) }),
  };
}

function errorOf(info: ErrorInfo): SciStreamError {
  const { code, message, suggestions } = fromErrorInfo(info);
  return new SciStreamError(code, message, { suggestions });
}
