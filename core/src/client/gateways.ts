import { SciStreamError } from '../errors.js';
import type { Gateway } from '../gen/scistream/v1/streams_pb.js';
import { fromErrorInfo, printableLine } from '../rpc/errors.js';

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

/** A message as its parts; foreign text is made printable. */
export function gatewayState(message: Gateway): GatewayState {
  const { up, drained, streams, ports, portsInUse, portsTotal, capacity, capacityInUse, error } = message;
  const facts = error && fromErrorInfo(error);
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
    ...(facts ? { error: new SciStreamError(facts.code, facts.message, { suggestions: facts.suggestions }) } : {}),
  };
}
